#!/bin/sh
# Everything here is wrong on purpose.
for file in $(ls *.txt); do
    cat $file | grep foo
    if [ $? == 0 ]; then
        echo "found in $file" > out/$file
    fi
done
function helper() {
    local x=`date +%s`
    echo $x $@
    [[ $1 =~ "a.*" ]] && echo yes
}
cd /nowhere
rm -rf $DIR/*
read line
case $1 in
    a*) ;;
    ab) ;;
esac
helper
echo "unused" | while read l; do count=$((count + 1)); done
echo $count
trap "echo $count" EXIT
source other.sh
