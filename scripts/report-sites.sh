#!/usr/bin/env bash
# Says which system calls of the programs of tests/apps are rewritten, and writes the table into docs/REWRITING.md. Programs that
# are not built yet are built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

page=docs/REWRITING.md
mark='<!-- table: written by `make report-sites` -->'
apps=${APPS_DIR:-target/apps}

bash tests/apps/build.sh
build cargo build --release -p image-builder

# The programs in C on musl, those with C++ or Rust, the one in Haskell, two in Go without symbols, and musl itself.
files=()
for file in busybox/busybox coreutils/sort lua/lua memcached/memcached nginx/nginx redis/redis-server sqlite/sqlite3 \
    cpp/tour just/just ripgrep/rg shellcheck/shellcheck esbuild/esbuild web-go/web; do
    [ ! -f "$apps/$file" ] || files+=("$apps/$file")
done
library=/usr/lib/x86_64-linux-musl/libc.so
[ ! -f "$library" ] || files+=("$library")

head=$(sed "/^$mark\$/q" "$page")
table=$("$(target_directory)/release/image-builder" --table "${files[@]}")
printf '%s\n\n%s\n' "$head" "$table" >"$page"
