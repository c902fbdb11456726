# What the scripts share; to be sourced.

# need PROGRAM:PACKAGE...: installs the Debian packages of the programs that are missing. An index is
# read only where there is something to install.
need() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    [ ${#missing[@]} -eq 0 ] && return
    echo "installing ${missing[*]}" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# The version of cargo-deb that is installed where there is none: it decides what the package is like.
CARGO_DEB=3.8.0

# Has `cargo deb` work, which is installed into target/tools where it is missing.
cargo_deb() {
    local tools=$PWD/target/tools
    PATH=$tools/bin:$PATH
    command -v cargo-deb >/dev/null && return
    echo "installing cargo-deb $CARGO_DEB into $tools" >&2
    cargo install --quiet --locked --version "$CARGO_DEB" --root "$tools" cargo-deb
}
