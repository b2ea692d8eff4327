# shellcheck shell=bash
# The suites of `make test`, in the order in which they run. Sourced by scripts/test.
#
# A suite is three things with its name in them:
#   suite NAME SECONDS     it exists, and may take that long
#   run_NAME               its command; output goes to target/test-logs/NAME.log
#   needs_NAME             optional: prints why it cannot run here and fails; that is a skip
# Names have a `-` where the functions have a `_`.

suite_names=()
declare -A suite_seconds=()
suite() {
    suite_names+=("$1")
    suite_seconds[$1]=$2
}

# A journey exists once its file does.
declare -A suite_is_journey=()
journey() {
    [ ! -f "tests/tests/$1.rs" ] || {
        suite "$2" "$3"
        suite_is_journey[$2]=yes
    }
}
run_journey() { cargo test --locked --workspace --test "$1"; }

# Prints "NAME is missing" for the first command that is.
commands() {
    local name
    for name; do
        has_command "$name" || {
            echo "$name is missing"
            return 1
        }
    done
}

has_display_tools() {
    [ -d /tmp/.X11-unix ] || mkdir -m 1777 /tmp/.X11-unix 2>/dev/null || true
    commands Xvfb xauth
}

# Every unit test, and by name every integration test. A name that a journey has too runs in that journey's suite.
suite rust 900
run_rust() {
    local file targets=()
    for file in src-tauri/tests/*.rs src-tauri/crates/*/tests/*.rs; do
        if [ -f "$file" ] && [ ! -f "tests/tests/${file##*/}" ]; then
            targets+=(--test "$(basename "$file" .rs)")
        fi
    done
    # To the end, whatever fails: a run tells of every failure at once.
    cargo test --locked --workspace --no-fail-fast --lib --bins "${targets[@]}"
    # Examples in the documentation; there is one build of its own for each, so they are few.
    cargo test --locked --workspace --doc
}

journey architecture architecture 120
run_architecture() { run_journey architecture; }

suite deps 120
run_deps() { scripts/tests/deps; }

suite licences 60
run_licences() { node --test scripts/tests/*.test.mjs; }

suite ui 300
run_ui() { (cd ui && npm run --silent test); }

[ ! -d ui ] || ! grep -q '"test:browser"' ui/package.json 2>/dev/null || suite browser 1500
needs_browser() { commands chromium; }
run_browser() {
    cargo build --locked --workspace --features asgard/browser-host --bin asgard-browser-host
    (cd ui && npm run --silent test:browser)
}

journey commands commands 300
run_commands() { run_journey commands; }

journey installed installed 300
run_installed() { run_journey installed; }

journey process journey-process 600
run_journey_process() { run_journey process; }

journey bifrost bifrost 600
run_bifrost() { run_journey bifrost; }

journey doctor doctor 300
run_doctor() { run_journey doctor; }

journey memory memory 300
run_memory() { run_journey memory; }

journey docker journey-docker 900
needs_journey_docker() {
    commands dockerd iptables || return
    [ "$(id -u)" -eq 0 ] || {
        echo "starting a Docker Engine needs root"
        return 1
    }
}
run_journey_docker() { run_journey docker; }

# Each engine that cannot be started is left out with its reason; processes always run.
journey engine_contract engine-contract 600
run_engine_contract() { run_journey engine_contract; }

journey registry registry 300
needs_registry() {
    commands docker-registry || return
    needs_journey_docker
}
run_registry() { run_journey registry; }

journey exchange_compose exchange 120
needs_exchange() { commands docker-compose; }
run_exchange() { run_journey exchange_compose; }

journey imports imports 300
run_imports() { run_journey imports; }

journey tools coding-tools 300
run_coding_tools() { run_journey tools; }

journey images images 300
needs_images() { needs_registry; }
run_images() { run_journey images; }

journey neighbours journey-neighbours 300
needs_journey_neighbours() {
    commands busybox || return
    needs_journey_docker
}
run_journey_neighbours() { run_journey neighbours; }

journey owner owner 300
needs_owner() { needs_journey_docker; }
run_owner() { run_journey owner; }

journey crash crash 900
run_crash() { run_journey crash; }

journey window window 600
needs_window() { has_display_tools && commands WebKitWebDriver dbus-run-session; }
run_window() { run_journey window; }

# From a search to an answer of what was found, by pointing alone; and from the first start to agents that run.
journey models_window models-window 480
needs_models_window() { needs_window && commands xdotool xwininfo; }
run_models_window() { 
    cargo test --locked --workspace --test models_window --test first_run_window --test models_dialogs \
        --test models_hostile_hub
}

journey tray tray 300
needs_tray() {
    commands dbus-run-session || return
    /usr/bin/python3 -c 'import dbus, gi' 2>/dev/null || {
        echo "python3-dbus or python3-gi is missing"
        return 1
    }
}
run_tray() { run_journey tray; }

journey install install 600
needs_install() { has_display_tools && commands desktop-file-validate dbus-run-session; }
run_install() { run_journey install; }

journey real_model real-model 600
# What it says last, where it fails, is why.
needs_real_model() {
    local why
    why=$(scripts/real-model 2>&1 </dev/null) || {
        tail -n 1 <<<"$why"
        return 1
    }
}
run_real_model() { run_journey real_model; }

journey hub hub 300
needs_hub() { needs_clients; }
run_hub() { run_journey hub; }

journey models models 900
needs_models() {
    # One of its journeys moves the clock.
    find /usr/lib /usr/lib64 -name 'libfaketimeMT.so.1' 2>/dev/null | grep -q . || {
        echo "libfaketime is missing" && return 1
    }
    needs_clients
}
run_models() { run_journey models; }

journey clients clients 600
needs_clients() {
    local why
    why=$(scripts/clients 2>&1 </dev/null) || {
        tail -n 1 <<<"$why"
        return 1
    }
}
run_clients() { run_journey clients; }
