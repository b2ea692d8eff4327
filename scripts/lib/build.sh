# shellcheck shell=bash
# What is built and when it is stale: npm packages, the UI's dist, the programs, the static stand-in.
# Sourced, at the top of the repository.
#
# Each stamp lives in the folder that it vouches for, so that removing the folder removes the stamp.

# shellcheck source=scripts/lib/say.sh
. scripts/lib/say.sh
# shellcheck source=scripts/lib/packages.sh
. scripts/lib/packages.sh
# shellcheck source=scripts/lib/toolchain.sh
. scripts/lib/toolchain.sh

prepare_system() {
    step "System packages"
    QUIET=1 HEADER=$(step_line) scripts/deps system
    step_done
}

prepare_languages() {
    step "Rust and Node"
    QUIET=1 HEADER=$(step_line) scripts/deps languages
    use_toolchain
    step_done "Rust $(rust_found), Node $(node_found)"
}

hash_of() { sha256sum | cut -d ' ' -f 1; }

# node_modules holds exactly what the lock file says, for this Node.
npm_wanted() { { cat ui/package-lock.json && node --version; } | hash_of; }

prepare_npm() {
    local stamp=ui/node_modules/.asgard-lock wanted
    step "npm packages"
    wanted=$(npm_wanted)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        step_done "up to date"
        return
    fi
    step_works
    (cd ui && npm ci --no-audit --no-fund --loglevel=error </dev/null) ||
        fail "npm could not install the packages of ui/package-lock.json." "What it said is above. Check the connection, then try again."
    echo "$wanted" >"$stamp"
    step_done
}

# One checksum over the names and contents of the files that are given.
tree_hash() { LC_ALL=C sort -z | xargs -0 -r sha256sum | hash_of; }

# Everything that can change what Vite writes. Tests and reports are not among it.
ui_sources() {
    find ui \( -name node_modules -o -name 'dist*' -o -name tests -o -name 'test-results*' -o -name .svelte-kit \) -prune -o \
        -type f ! -name '*.test.ts' ! -name '*.spec.ts' ! -name '*.log' ! -name '*.tsbuildinfo' -print0 | tree_hash
}

# What was written is part of the stamp: somebody may have built other pages there by hand.
pages_stamp() { [ -f ui/dist/index.html ] && echo "$1 $(find ui/dist -type f -print0 | tree_hash)"; }

prepare_window() {
    local stamp=ui/node_modules/.asgard-dist sources
    step "The window's pages"
    sources=$(ui_sources)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(pages_stamp "$sources")" ]; then
        step_done "up to date"
        return
    fi
    step_works
    (cd ui && npm run --silent build </dev/null) || fail "The window's pages could not be built." "What Vite said is above."
    pages_stamp "$sources" >"$stamp" || fail "Vite wrote no ui/dist/index.html." "What it said is above."
    step_done
}

programs_failed() { fail "The programs could not be built." "What the compiler said is above."; }

# The pages must exist by now: the window embeds them. Every build of this checkout picks the whole workspace, which
# keeps one set of features, so that `make run` and `make test` compile no dependency twice.
prepare_programs() {
    step "Programs"
    step_works "the first build takes minutes, later ones seconds"
    cargo build --locked --workspace --bin asgard --bin asgard-desktop </dev/null || programs_failed
    step_done
}

# Everything that the suites need, in one go.
prepare_everything() {
    step "Programs and tests"
    step_works "the first build takes minutes, later ones seconds"
    cargo build --locked --workspace --bins --tests </dev/null || programs_failed
    step_done
}

prepare_stand_in() {
    step "The stand-in for containers"
    step_works
    scripts/stand-in || fail "The static stand-in could not be built." "What the compiler said is above."
    step_done
}

# The socket of an engine that answers, if there is one: where Docker's own command would look, then Podman's.
engine_socket() {
    local runtime=${XDG_RUNTIME_DIR:-/run/user/$(id -u)} socket
    for socket in "${DOCKER_HOST:-}" "unix://$runtime/docker.sock" unix:///var/run/docker.sock \
        "unix://$runtime/podman/podman.sock" unix:///run/podman/podman.sock; do
        socket=${socket#unix://}
        [ -S "$socket" ] || continue
        if curl --silent --fail --max-time 2 --output /dev/null --unix-socket "$socket" http://localhost/_ping; then
            echo "$socket"
            return
        fi
    done
    return 1
}
