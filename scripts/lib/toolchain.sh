# shellcheck shell=bash
# Rust and Node: what is here, what is wanted, and a place of the project's own for what is missing.
# Sourced. Never touches a toolchain outside target/toolchain; nothing is written to a shell's start-up files.

toolchain=${ASGARD_TOOLCHAIN:-$PWD/target/toolchain}
rust_wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
rust_release=$rust_wanted.0
# What Vite, Vitest and ESLint agree on: 20.19 and later of 20, 22.13 and later of 22, 24 and newer.
node_wanted='20.19'
node_release=22.19.0

use_toolchain() {
    if [ -x "$toolchain/rust/bin/cargo" ]; then
        export RUSTUP_HOME=$toolchain/rustup CARGO_HOME=$toolchain/rust
        PATH=$toolchain/rust/bin:$PATH
    fi
    if [ -x "$toolchain/node/bin/node" ]; then
        PATH=$toolchain/node/bin:$PATH
    fi
    export PATH
}

# True where version $1 is at least version $2.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

rust_found() { { cargo --version >/dev/null && rustc --version; } 2>/dev/null | cut -d ' ' -f 2; }
node_found() { { npm --version >/dev/null && node --version; } 2>/dev/null | sed 's/^v//'; }

rust_fits() { [ -n "$1" ] && at_least "${1%%-*}" "$rust_wanted"; }

node_fits() {
    case "$1" in
        '' | ?.* | 1?.* | 21.* | 23.*) return 1 ;;
        20.*) at_least "$1" 20.19 ;;
        22.*) at_least "$1" 22.13 ;;
    esac
}

# "Rust 1.74.0 found, 1.95 or newer wanted."
say_version() {
    local name=$1 found=$2 wanted=$3
    if [ -n "$found" ]; then
        printf '%s %s found, %s or newer wanted.\n' "$name" "$found" "$wanted"
    else
        printf '%s not found, %s or newer wanted.\n' "$name" "$wanted"
    fi
}

download() {
    curl --proto '=https' --tlsv1.2 --fail --silent --show-error --location --retry 3 --output "$2" "$1" ||
        fail "Could not download $1." "Check the connection, or install it by hand, then try again."
}

# $1 file, $2 the checksum it must have
verify() {
    local found
    found=$(sha256sum "$1" | cut -d ' ' -f 1)
    if [ "$found" != "$2" ]; then
        fail "The checksum of $(basename "$1") is $found, not the published ${2:-one}." "Nothing was installed. Try again later."
    fi
}

# Everything is put beside its place first and moved there whole, so that an interrupt leaves nothing half done.
install_rust() {
    local host tmp
    case "$(uname -m)" in
        x86_64) host=x86_64-unknown-linux-gnu ;;
        aarch64) host=aarch64-unknown-linux-gnu ;;
        *) fail "There is no rustup address known here for $(uname -m)." "Install Rust $rust_wanted or newer, then try again." ;;
    esac
    mkdir -p "$toolchain"
    rm -rf "$toolchain"/.rust.*
    tmp=$(mktemp -d "$toolchain/.rust.XXXXXX")
    local address=https://static.rust-lang.org/rustup/dist/$host/rustup-init
    download "$address" "$tmp/rustup-init"
    download "$address.sha256" "$tmp/sum"
    verify "$tmp/rustup-init" "$(cut -d ' ' -f 1 <"$tmp/sum")"
    chmod +x "$tmp/rustup-init"
    rm -rf "$toolchain/rust" "$toolchain/rustup"
    RUSTUP_HOME=$toolchain/rustup CARGO_HOME=$toolchain/rust RUSTUP_INIT_SKIP_PATH_CHECK=yes \
        "$tmp/rustup-init" -y --no-modify-path --profile minimal --component rustfmt --component clippy \
        --default-toolchain "$rust_release" </dev/null || {
        rm -rf "$toolchain/rust" "$toolchain/rustup" "$tmp"
        fail "rustup could not install Rust $rust_release." "What it said is above. Try again, or install Rust by hand."
    }
    rm -rf "$tmp"
}

install_node() {
    local arch tmp name
    case "$(uname -m)" in
        x86_64) arch=x64 ;;
        aarch64) arch=arm64 ;;
        *) fail "There is no Node address known here for $(uname -m)." "Install Node $node_wanted or newer, then try again." ;;
    esac
    name=node-v$node_release-linux-$arch
    mkdir -p "$toolchain"
    rm -rf "$toolchain"/.node.*
    tmp=$(mktemp -d "$toolchain/.node.XXXXXX")
    download "https://nodejs.org/dist/v$node_release/$name.tar.xz" "$tmp/$name.tar.xz"
    download "https://nodejs.org/dist/v$node_release/SHASUMS256.txt" "$tmp/sums"
    verify "$tmp/$name.tar.xz" "$(awk -v name="$name.tar.xz" '$2 == name { print $1 }' "$tmp/sums")"
    tar -xJf "$tmp/$name.tar.xz" -C "$tmp"
    rm -rf "$toolchain/node"
    mv "$tmp/$name" "$toolchain/node"
    rm -rf "$tmp"
}
