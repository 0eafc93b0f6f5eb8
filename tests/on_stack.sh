# shellcheck shell=bash
# Sourced by scripts that use a running stack, after they set `here` to their folder. Exits if PINLAKE_STACK is not set.
# Sets `root`, `target`, `work` (the folder for all files of the script) and `built` (the programs that cargo built), and
# defines `venv`.
root=$(cd "$here/../.." && pwd)
target="${CARGO_TARGET_DIR:-$root/target}"
work="$target/$(basename "$here")"
built="$target${CARGO_BUILD_TARGET:+/$CARGO_BUILD_TARGET}/debug"

if [ -z "${PINLAKE_STACK:-}" ]; then
    echo "$(basename "$here"): PINLAKE_STACK is not set: \`make up\`, then PINLAKE_STACK=\$PWD/target/demo/stack.json $0" >&2
    exit 2
fi
# shellcheck source=venv.sh
. "$here/../venv.sh"
