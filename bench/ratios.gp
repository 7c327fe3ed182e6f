# SPDX-License-Identifier: GPL-2.0
#
# gnuplot -e "data='ratios.dat'; out='ratios'" ratios.gp

stats data using 2 nooutput
height = 120 + 36 * STATS_records

set style fill solid 1.0 border -1
set grid xtics
set xrange [0:*]
set xlabel "rust_loop, as a multiple"
set key outside top center horizontal
set yrange [-0.6:STATS_records - 0.4]
set arrow from 1, graph 0 to 1, graph 1 nohead linewidth 1.5 dashtype 2

do for [kind in "svg png"] {
	if (kind eq "svg") {
		set terminal svg size 900, height dynamic noenhanced font "DejaVu Sans,12" background "white"
	} else {
		set terminal pngcairo size 900, height noenhanced font "DejaVu Sans,10"
	}
	set output out.".".kind
	plot data using (0.5*$2):($0 + 0.18):(0.5*$2):(0.16):ytic(1) \
			with boxxyerror lc rgb "#1f77b4" title "of loop.ko", \
		data using (0.5*$3):($0 - 0.18):(0.5*$3):(0.16) \
			with boxxyerror lc rgb "#b0b0b0" title "of the store itself"
	unset output
}
