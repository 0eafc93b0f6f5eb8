# shellcheck shell=bash
# What the scripts begin with that drive a stack which runs. To be sourced with `here`, the script's folder, set. Ends the script
# when no stack is named; sets `root`, `target`, `work` (where all that the script makes lies) and `built` (the programs that
# cargo made), and brings `venv`.
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
