#!/bin/bash
set -euo pipefail
main() {
    local file
    for file in "$@"; do
        printf '%s\n' "$file"
    done
}
main "$@"
