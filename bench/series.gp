# SPDX-License-Identifier: GPL-2.0
#
# gnuplot -e "data='jobs.dat'; out='jobs'; what='jobs'" series.gp

stats data skip 1 nooutput
set grid
set key outside top center horizontal
set xlabel what
set ylabel "I/O per second, thousands"
set yrange [0:*]
stats data using 1 skip 1 nooutput name "x"
if (x_max > 8) {
	set logscale x 2
}
# Not empty with a single point.
set xrange [0.95 * x_min:1.05 * x_max]

do for [kind in "svg png"] {
	if (kind eq "svg") {
		set terminal svg size 800, 500 dynamic noenhanced font "DejaVu Sans,12" background "white"
	} else {
		set terminal pngcairo size 800, 500 noenhanced font "DejaVu Sans,10"
	}
	set output out.".".kind
	plot for [column = 2:STATS_columns] data using 1:(column(column) / 1000) \
		with linespoints linewidth 2 pointtype 7 title columnheader(column)
	unset output
}
