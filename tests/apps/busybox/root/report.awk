# Sums by key, sorted by hand, with formatted output.
{ count[$2 % 10]++; sum[$2 % 10] += $3; if ($3 > max) { max = $3; line = NR } }
END {
    for (key = 0; key < 10; key++) printf "%d %6d %15.0f %8.3f\n", key, count[key], sum[key], sum[key] / count[key] / 1000
    print "max", max, "in line", line, length($0), substr("abcdef", 2, 3), toupper("done"), index("haystack", "st")
    n = split("b:c:a", parts, ":"); print n, parts[1] parts[3]
    x = "aXbXc"; gsub(/X/, "&&", x); print x, match("foobar", /o+/), RSTART, RLENGTH
    while ((getline other < "poem.txt") > 0) lines++
    print lines, "lines of a poem"
    print "written by awk" > "tmp/awk.out"; close("tmp/awk.out"); getline back < "tmp/awk.out"; print back
}
