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
step_40() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_40; fi
    for n in 1 2 3; do result_40=$(( n + 40 )); done
}
step_40 "$result_39"
step_41() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_41; fi
    for n in 1 2 3; do result_41=$(( n + 41 )); done
}
step_41 "$result_40"
step_42() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_42; fi
    for n in 1 2 3; do result_42=$(( n + 42 )); done
}
step_42 "$result_41"
step_43() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_43; fi
    for n in 1 2 3; do result_43=$(( n + 43 )); done
}
step_43 "$result_42"
step_44() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_44; fi
    for n in 1 2 3; do result_44=$(( n + 44 )); done
}
step_44 "$result_43"
step_45() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_45; fi
    for n in 1 2 3; do result_45=$(( n + 45 )); done
}
step_45 "$result_44"
step_46() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_46; fi
    for n in 1 2 3; do result_46=$(( n + 46 )); done
}
step_46 "$result_45"
step_47() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_47; fi
    for n in 1 2 3; do result_47=$(( n + 47 )); done
}
step_47 "$result_46"
step_48() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_48; fi
    for n in 1 2 3; do result_48=$(( n + 48 )); done
}
step_48 "$result_47"
step_49() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_49; fi
    for n in 1 2 3; do result_49=$(( n + 49 )); done
}
step_49 "$result_48"
step_50() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_50; fi
    for n in 1 2 3; do result_50=$(( n + 50 )); done
}
step_50 "$result_49"
step_51() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_51; fi
    for n in 1 2 3; do result_51=$(( n + 51 )); done
}
step_51 "$result_50"
step_52() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_52; fi
    for n in 1 2 3; do result_52=$(( n + 52 )); done
}
step_52 "$result_51"
step_53() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_53; fi
    for n in 1 2 3; do result_53=$(( n + 53 )); done
}
step_53 "$result_52"
step_54() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_54; fi
    for n in 1 2 3; do result_54=$(( n + 54 )); done
}
step_54 "$result_53"
step_55() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_55; fi
    for n in 1 2 3; do result_55=$(( n + 55 )); done
}
step_55 "$result_54"
step_56() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_56; fi
    for n in 1 2 3; do result_56=$(( n + 56 )); done
}
step_56 "$result_55"
step_57() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_57; fi
    for n in 1 2 3; do result_57=$(( n + 57 )); done
}
step_57 "$result_56"
step_58() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_58; fi
    for n in 1 2 3; do result_58=$(( n + 58 )); done
}
step_58 "$result_57"
step_59() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_59; fi
    for n in 1 2 3; do result_59=$(( n + 59 )); done
}
step_59 "$result_58"
step_60() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_60; fi
    for n in 1 2 3; do result_60=$(( n + 60 )); done
}
step_60 "$result_59"
step_61() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_61; fi
    for n in 1 2 3; do result_61=$(( n + 61 )); done
}
step_61 "$result_60"
step_62() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_62; fi
    for n in 1 2 3; do result_62=$(( n + 62 )); done
}
step_62 "$result_61"
step_63() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_63; fi
    for n in 1 2 3; do result_63=$(( n + 63 )); done
}
step_63 "$result_62"
step_64() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_64; fi
    for n in 1 2 3; do result_64=$(( n + 64 )); done
}
step_64 "$result_63"
step_65() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_65; fi
    for n in 1 2 3; do result_65=$(( n + 65 )); done
}
step_65 "$result_64"
step_66() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_66; fi
    for n in 1 2 3; do result_66=$(( n + 66 )); done
}
step_66 "$result_65"
step_67() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_67; fi
    for n in 1 2 3; do result_67=$(( n + 67 )); done
}
step_67 "$result_66"
step_68() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_68; fi
    for n in 1 2 3; do result_68=$(( n + 68 )); done
}
step_68 "$result_67"
step_69() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_69; fi
    for n in 1 2 3; do result_69=$(( n + 69 )); done
}
step_69 "$result_68"
step_70() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_70; fi
    for n in 1 2 3; do result_70=$(( n + 70 )); done
}
step_70 "$result_69"
step_71() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_71; fi
    for n in 1 2 3; do result_71=$(( n + 71 )); done
}
step_71 "$result_70"
step_72() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_72; fi
    for n in 1 2 3; do result_72=$(( n + 72 )); done
}
step_72 "$result_71"
step_73() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_73; fi
    for n in 1 2 3; do result_73=$(( n + 73 )); done
}
step_73 "$result_72"
step_74() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_74; fi
    for n in 1 2 3; do result_74=$(( n + 74 )); done
}
step_74 "$result_73"
step_75() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_75; fi
    for n in 1 2 3; do result_75=$(( n + 75 )); done
}
step_75 "$result_74"
step_76() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_76; fi
    for n in 1 2 3; do result_76=$(( n + 76 )); done
}
step_76 "$result_75"
step_77() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_77; fi
    for n in 1 2 3; do result_77=$(( n + 77 )); done
}
step_77 "$result_76"
step_78() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_78; fi
    for n in 1 2 3; do result_78=$(( n + 78 )); done
}
step_78 "$result_77"
step_79() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_79; fi
    for n in 1 2 3; do result_79=$(( n + 79 )); done
}
step_79 "$result_78"
step_80() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_80; fi
    for n in 1 2 3; do result_80=$(( n + 80 )); done
}
step_80 "$result_79"
step_81() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_81; fi
    for n in 1 2 3; do result_81=$(( n + 81 )); done
}
step_81 "$result_80"
step_82() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_82; fi
    for n in 1 2 3; do result_82=$(( n + 82 )); done
}
step_82 "$result_81"
step_83() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_83; fi
    for n in 1 2 3; do result_83=$(( n + 83 )); done
}
step_83 "$result_82"
step_84() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_84; fi
    for n in 1 2 3; do result_84=$(( n + 84 )); done
}
step_84 "$result_83"
step_85() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_85; fi
    for n in 1 2 3; do result_85=$(( n + 85 )); done
}
step_85 "$result_84"
step_86() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_86; fi
    for n in 1 2 3; do result_86=$(( n + 86 )); done
}
step_86 "$result_85"
step_87() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_87; fi
    for n in 1 2 3; do result_87=$(( n + 87 )); done
}
step_87 "$result_86"
step_88() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_88; fi
    for n in 1 2 3; do result_88=$(( n + 88 )); done
}
step_88 "$result_87"
step_89() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_89; fi
    for n in 1 2 3; do result_89=$(( n + 89 )); done
}
step_89 "$result_88"
step_90() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_90; fi
    for n in 1 2 3; do result_90=$(( n + 90 )); done
}
step_90 "$result_89"
step_91() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_91; fi
    for n in 1 2 3; do result_91=$(( n + 91 )); done
}
step_91 "$result_90"
step_92() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_92; fi
    for n in 1 2 3; do result_92=$(( n + 92 )); done
}
step_92 "$result_91"
step_93() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_93; fi
    for n in 1 2 3; do result_93=$(( n + 93 )); done
}
step_93 "$result_92"
step_94() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_94; fi
    for n in 1 2 3; do result_94=$(( n + 94 )); done
}
step_94 "$result_93"
step_95() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_95; fi
    for n in 1 2 3; do result_95=$(( n + 95 )); done
}
step_95 "$result_94"
step_96() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_96; fi
    for n in 1 2 3; do result_96=$(( n + 96 )); done
}
step_96 "$result_95"
step_97() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_97; fi
    for n in 1 2 3; do result_97=$(( n + 97 )); done
}
step_97 "$result_96"
step_98() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_98; fi
    for n in 1 2 3; do result_98=$(( n + 98 )); done
}
step_98 "$result_97"
step_99() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_99; fi
    for n in 1 2 3; do result_99=$(( n + 99 )); done
}
step_99 "$result_98"
step_100() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_100; fi
    for n in 1 2 3; do result_100=$(( n + 100 )); done
}
step_100 "$result_99"
step_101() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_101; fi
    for n in 1 2 3; do result_101=$(( n + 101 )); done
}
step_101 "$result_100"
step_102() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_102; fi
    for n in 1 2 3; do result_102=$(( n + 102 )); done
}
step_102 "$result_101"
step_103() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_103; fi
    for n in 1 2 3; do result_103=$(( n + 103 )); done
}
step_103 "$result_102"
step_104() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_104; fi
    for n in 1 2 3; do result_104=$(( n + 104 )); done
}
step_104 "$result_103"
step_105() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_105; fi
    for n in 1 2 3; do result_105=$(( n + 105 )); done
}
step_105 "$result_104"
step_106() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_106; fi
    for n in 1 2 3; do result_106=$(( n + 106 )); done
}
step_106 "$result_105"
step_107() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_107; fi
    for n in 1 2 3; do result_107=$(( n + 107 )); done
}
step_107 "$result_106"
step_108() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_108; fi
    for n in 1 2 3; do result_108=$(( n + 108 )); done
}
step_108 "$result_107"
step_109() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_109; fi
    for n in 1 2 3; do result_109=$(( n + 109 )); done
}
step_109 "$result_108"
step_110() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_110; fi
    for n in 1 2 3; do result_110=$(( n + 110 )); done
}
step_110 "$result_109"
step_111() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_111; fi
    for n in 1 2 3; do result_111=$(( n + 111 )); done
}
step_111 "$result_110"
step_112() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_112; fi
    for n in 1 2 3; do result_112=$(( n + 112 )); done
}
step_112 "$result_111"
step_113() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_113; fi
    for n in 1 2 3; do result_113=$(( n + 113 )); done
}
step_113 "$result_112"
step_114() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_114; fi
    for n in 1 2 3; do result_114=$(( n + 114 )); done
}
step_114 "$result_113"
step_115() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_115; fi
    for n in 1 2 3; do result_115=$(( n + 115 )); done
}
step_115 "$result_114"
step_116() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_116; fi
    for n in 1 2 3; do result_116=$(( n + 116 )); done
}
step_116 "$result_115"
step_117() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_117; fi
    for n in 1 2 3; do result_117=$(( n + 117 )); done
}
step_117 "$result_116"
step_118() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_118; fi
    for n in 1 2 3; do result_118=$(( n + 118 )); done
}
step_118 "$result_117"
step_119() {
    local value=$1
    if [ -f $value ]; then echo "$value" >> log_119; fi
    for n in 1 2 3; do result_119=$(( n + 119 )); done
}
step_119 "$result_118"
