# shellcheck shell=bash
# venv DIR REQUIREMENTS: creates a virtual environment in DIR with exactly these packages, and creates it again when they
# change. Sourced by scripts.
venv() {
    local dir="$1" wanted="$2"
    if cmp -s "$wanted" "$dir/installed.txt"; then
        return
    fi
    echo "$(basename "$(dirname "$wanted")"): installing the packages of $(basename "$wanted")" >&2
    rm -rf "$dir"
    mkdir -p "$(dirname "$dir")"
    "${PYTHON:-python3}" -m venv "$dir"
    "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --requirement "$wanted"
    cp "$wanted" "$dir/installed.txt"
}
