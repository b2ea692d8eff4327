fn main() {
    // The pages are embedded by a macro, and Cargo does not watch what a macro reads.
    println!("cargo:rerun-if-changed=../ui/dist");
    tauri_build::build();
}
