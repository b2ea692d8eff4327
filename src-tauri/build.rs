fn main() {
    // Naming the commands makes each of them need a permission, so that `capabilities/` is the whole of what the page
    // may call.
    let commands = &[
        "rpc",
        "open_stream",
        "close_stream",
        "preference_get",
        "preference_set",
        "start_controller",
        "dialog_import",
        "dialog_import_write",
        "dialog_confirm",
        "dialog_stop_neighbour",
        "dialog_gateway_listen",
        "dialog_save_report",
        "dialog_save_picture",
        "dialog_save_requests",
        "dialog_write_tool",
        "dialog_import_model",
        "dialog_open_model_folder",
        "dialog_open_page",
    ];
    let attributes =
        tauri_build::Attributes::new().app_manifest(tauri_build::AppManifest::new().commands(commands));
    if let Err(error) = tauri_build::try_build(attributes) {
        println!("cargo::error={error:#}");
    }
}
