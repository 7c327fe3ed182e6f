# SPDX-License-Identifier: GPL-2.0
#
# Finds unsafe blocks and impls without a SAFETY comment above (or beside), and
# unsafe functions and traits without a "# Safety" section in their doc.

FNR == 1 {
	doc = comment = ""
	depth = 0
}

# A comment that ends a statement's line counts for the next lines too.
function finding(what)
{
	printf "%s:%d: %s\n", FILENAME, FNR, what
	found = 1
}

{
	line = $0
	code = line
	sub(/\/\/.*/, "", code)
	gsub(/"([^"\\]|\\.)*"/, "\"\"", code)
}

line ~ /^[[:space:]]*\/\/\// {
	doc = doc line "\n"
	next
}

line ~ /^[[:space:]]*\/\// {
	comment = comment line "\n"
	next
}

# Attributes stand between a doc and its item.
line ~ /^[[:space:]]*#\[/ && code !~ /unsafe/ {
	next
}

# The methods of an unsafe trait are documented where the trait is.
code ~ /^unsafe impl.* for / {
	in_trait_impl = 1
}

code ~ /^}/ {
	in_trait_impl = 0
}

code ~ /(^|[^_[:alnum:]])unsafe[[:space:]]+(extern[[:space:]]+"[^"]*"[[:space:]]+)?(fn|trait)[[:space:]]+[_[:alpha:]]/ {
	if (doc !~ /# Safety/ && !in_trait_impl)
		finding("unsafe fn or trait without a \"# Safety\" section")
	doc = comment = ""
	next
}

code ~ /(^|[^_[:alnum:]])unsafe[[:space:]]*(\{|impl)/ {
	if (comment !~ /SAFETY:/ && line !~ /SAFETY:/ && !carried)
		finding("unsafe without a SAFETY comment")
}

# A comment holds until the statement it stands above has ended.
{
	if (comment ~ /SAFETY:/)
		carried = 1
	doc = comment = ""
	if (code ~ /[;{}][[:space:]]*$/)
		carried = 0
}

END { exit found }
