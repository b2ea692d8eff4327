//! Repositories that mean harm.

use super::content::Content;
use super::repo::{File, Repo};

/// Every name that must not lead out of the cache or off the screen, beside two harmless files.
pub fn hostile(id: &str) -> Repo {
    let long = "n".repeat(300);
    let names = [
        "../escaped.txt",
        "../../../../../../tmp/asgard-escaped.txt",
        "/tmp/asgard-escaped-absolute.txt",
        "a/../../escaped.txt",
        "./dot.txt",
        "a//b.txt",
        "..",
        "..\\windows.txt",
        "C:\\windows.txt",
        "line\nbreak.txt",
        "null\0byte.txt",
        "escape\u{1b}[2Jscreen.txt",
        "right\u{202e}txt.exe",
        "README.MD",
        "readme.md",
        "Weights.safetensors",
        "weights.safetensors",
        ".git/config",
        ".no_exist/x",
        "refs/heads/main",
        "-rf",
        "~/x",
        "$(touch pwned)",
        "<img src=x onerror=alert(1)>.txt",
        long.as_str(),
        "blobs",
        "snapshots/x/y",
        "file",
        "file/below",
    ];
    let mut files = vec![
        File::new("config.json", Content::text("{}")),
        File::new(
            "README.md",
            Content::text(
                "---\nlicense: mit\n---\n# <script>document.title='pwned'</script>\n<img src=x onerror=\"alert(1)\"><iframe src=\"javascript:alert(1)\"></iframe>\n[click](javascript:alert(1))\n",
            ),
        ),
    ];
    files.extend(
        names.iter().map(|name| File::new(*name, Content::text(format!("harm of {}\n", name.len())))),
    );
    let mut repo = Repo::new(id, files);
    repo.card = serde_json::json!({ "license": "<b>mit</b>", "base_model": "../../x" });
    repo.tags = vec!["license:<b>mit</b>".to_owned(), "x".repeat(10_000)];
    repo
}

/// So many small files, with sizes from a few bytes to a few kilobytes.
pub fn many(id: &str, count: usize) -> Repo {
    let file = |n: usize| {
        let size = 100 + (super::content::mix(n as u64) % 8000);
        File::new(format!("part-{:03}/file-{n:06}.json", n / 1000), Content::Seeded { size, seed: n as u64 })
    };
    Repo::new(id, (0..count).map(file).collect())
}
