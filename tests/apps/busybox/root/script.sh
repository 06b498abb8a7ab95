# What a shell does without starting a process.
echo "arguments: $# [$1] [$2]"
total=0
for i in 1 2 3 4 5; do total=$((total + i * i)); done
echo "total $total $((0x10 << 3)) $((total % 7 == 6 ? 1 : 0))"
fact() { if [ "$1" -le 1 ]; then result=1; else fact $(($1 - 1)); result=$((result * $1)); fi; }
fact 10
echo "10! = $result"
case "$2" in two*) echo "matched";; *) echo "not matched";; esac
while read -r first rest; do
    case $first in Glimmering) echo "found: $rest";; esac
done <poem.txt
echo "one" >tmp/sh.out
echo "two" >>tmp/sh.out
read -r line <tmp/sh.out && echo "back: $line"
[ -f tmp/sh.out ] && [ -s tmp/sh.out ] && [ ! -d tmp/sh.out ] && [ -d tree/a ] && echo "tests hold"
exec 3<poem.txt; read -r line <&3; read -r line <&3; echo "third descriptor: $line"; exec 3<&-
name=archive.tar.gz; echo "${name%%.*} ${name#*.} ${#name} ${unset:-default} ${name/tar/zip}"
set -- c a b; echo "$* $#"; shift; echo "$1"
echo tree/*/*.txt
printf '%s-%05d-%x\n' word 42 255
trap 'echo "leaving with $?"' EXIT
cd tree/a && cd .. && echo *
umask 027; umask
kill -0 $$ && echo "alive"
exit 9
