#!/bin/bash
# esbuild, a static Go program: many threads, and a scheduler of its own that preempts by signals.
app=esbuild
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../packages.sh"

# Two hundred modules that import each other.
make_modules() { # FOLDER
    mkdir -p "$1"
    awk -v folder="$1" 'BEGIN {
        for (number = 0; number < 200; number++) {
            name = sprintf("%s/module%03d.ts", folder, number)
            for (next_one = number * 2 + 1; next_one <= number * 2 + 2 && next_one < 200; next_one++)
                printf "import { value%d, Shape%d } from \"./module%03d\";\n", next_one, next_one, next_one > name
            printf "export interface Options%d { readonly depth?: number; label: string | null }\n", number > name
            printf "export enum Kind%d { Small = %d, Large = Small * 2 }\n", number, number + 1 > name
            printf "export class Shape%d<T extends object> {\n", number > name
            printf "    #hidden = %d;\n    constructor(private readonly options: Options%d, public items: T[] = []) {}\n", number, number > name
            printf "    get area(): number { return this.#hidden ** 2 + (this.options?.depth ?? Kind%d.Large); }\n", number > name
            printf "    async *walk(): AsyncGenerator<T> { for (const item of this.items) yield item; }\n}\n" > name
            printf "export const value%d: number = new Shape%d({ label: null }).area", number, number > name
            for (next_one = number * 2 + 1; next_one <= number * 2 + 2 && next_one < 200; next_one++)
                printf " + value%d + new Shape%d({ label: `n${value%d}` }).area", next_one, next_one, next_one > name
            printf ";\n" > name
            close(name)
        }
    }'
}

build() {
    package=$(fetch_npm @esbuild/linux-x64@0.28.2 9573bb2233aab0f9ea7647d5cca9726113cc1768de61d66b17267f4db84488f6)
    install -m 755 "$package/package/bin/esbuild" "$out/esbuild"
    mkdir "$out/licence"
    cp "$package/package/package.json" "$out/licence"
    cp -r "$script_dir/root" "$out/root"
    make_modules "$out/root/modules"
}

finish
