#!/bin/bash
step_0() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_0; fi
    for n in 1 2 3; do result_0=$(( n + 0 )); done
}
step_0 "$result_0"
step_1() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_1; fi
    for n in 1 2 3; do result_1=$(( n + 1 )); done
}
step_1 "$result_0"
step_2() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_2; fi
    for n in 1 2 3; do result_2=$(( n + 2 )); done
}
step_2 "$result_1"
step_3() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_3; fi
    for n in 1 2 3; do result_3=$(( n + 3 )); done
}
step_3 "$result_2"
step_4() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_4; fi
    for n in 1 2 3; do result_4=$(( n + 4 )); done
}
step_4 "$result_3"
step_5() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_5; fi
    for n in 1 2 3; do result_5=$(( n + 5 )); done
}
step_5 "$result_4"
step_6() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_6; fi
    for n in 1 2 3; do result_6=$(( n + 6 )); done
}
step_6 "$result_5"
step_7() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_7; fi
    for n in 1 2 3; do result_7=$(( n + 7 )); done
}
step_7 "$result_6"
step_8() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_8; fi
    for n in 1 2 3; do result_8=$(( n + 8 )); done
}
step_8 "$result_7"
step_9() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_9; fi
    for n in 1 2 3; do result_9=$(( n + 9 )); done
}
step_9 "$result_8"
step_10() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_10; fi
    for n in 1 2 3; do result_10=$(( n + 10 )); done
}
step_10 "$result_9"
step_11() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_11; fi
    for n in 1 2 3; do result_11=$(( n + 11 )); done
}
step_11 "$result_10"
step_12() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_12; fi
    for n in 1 2 3; do result_12=$(( n + 12 )); done
}
step_12 "$result_11"
step_13() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_13; fi
    for n in 1 2 3; do result_13=$(( n + 13 )); done
}
step_13 "$result_12"
step_14() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_14; fi
    for n in 1 2 3; do result_14=$(( n + 14 )); done
}
step_14 "$result_13"
step_15() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_15; fi
    for n in 1 2 3; do result_15=$(( n + 15 )); done
}
step_15 "$result_14"
step_16() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_16; fi
    for n in 1 2 3; do result_16=$(( n + 16 )); done
}
step_16 "$result_15"
step_17() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_17; fi
    for n in 1 2 3; do result_17=$(( n + 17 )); done
}
step_17 "$result_16"
step_18() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_18; fi
    for n in 1 2 3; do result_18=$(( n + 18 )); done
}
step_18 "$result_17"
step_19() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_19; fi
    for n in 1 2 3; do result_19=$(( n + 19 )); done
}
step_19 "$result_18"
step_20() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_20; fi
    for n in 1 2 3; do result_20=$(( n + 20 )); done
}
step_20 "$result_19"
step_21() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_21; fi
    for n in 1 2 3; do result_21=$(( n + 21 )); done
}
step_21 "$result_20"
step_22() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_22; fi
    for n in 1 2 3; do result_22=$(( n + 22 )); done
}
step_22 "$result_21"
step_23() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_23; fi
    for n in 1 2 3; do result_23=$(( n + 23 )); done
}
step_23 "$result_22"
step_24() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_24; fi
    for n in 1 2 3; do result_24=$(( n + 24 )); done
}
step_24 "$result_23"
step_25() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_25; fi
    for n in 1 2 3; do result_25=$(( n + 25 )); done
}
step_25 "$result_24"
step_26() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_26; fi
    for n in 1 2 3; do result_26=$(( n + 26 )); done
}
step_26 "$result_25"
step_27() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_27; fi
    for n in 1 2 3; do result_27=$(( n + 27 )); done
}
step_27 "$result_26"
step_28() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_28; fi
    for n in 1 2 3; do result_28=$(( n + 28 )); done
}
step_28 "$result_27"
step_29() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_29; fi
    for n in 1 2 3; do result_29=$(( n + 29 )); done
}
step_29 "$result_28"
step_30() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_30; fi
    for n in 1 2 3; do result_30=$(( n + 30 )); done
}
step_30 "$result_29"
step_31() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_31; fi
    for n in 1 2 3; do result_31=$(( n + 31 )); done
}
step_31 "$result_30"
step_32() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_32; fi
    for n in 1 2 3; do result_32=$(( n + 32 )); done
}
step_32 "$result_31"
step_33() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_33; fi
    for n in 1 2 3; do result_33=$(( n + 33 )); done
}
step_33 "$result_32"
step_34() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_34; fi
    for n in 1 2 3; do result_34=$(( n + 34 )); done
}
step_34 "$result_33"
step_35() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_35; fi
    for n in 1 2 3; do result_35=$(( n + 35 )); done
}
step_35 "$result_34"
step_36() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_36; fi
    for n in 1 2 3; do result_36=$(( n + 36 )); done
}
step_36 "$result_35"
step_37() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_37; fi
    for n in 1 2 3; do result_37=$(( n + 37 )); done
}
step_37 "$result_36"
step_38() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_38; fi
    for n in 1 2 3; do result_38=$(( n + 38 )); done
}
step_38 "$result_37"
step_39() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_39; fi
    for n in 1 2 3; do result_39=$(( n + 39 )); done
}
step_39 "$result_38"
