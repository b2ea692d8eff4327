//! Fuzz targets for the texts of the kernel: any of them may be empty, cut, or of a kernel of tomorrow.

#[path = "../../../../tests/fuzzing/mod.rs"]
mod fuzzing;

use std::sync::LazyLock;

use fuzzing::{Count, MOST_EDITS, SHORT, input};

fn texts(whole: &[&str]) -> Vec<Vec<u8>> {
    whole.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn meminfo() {
    static WHOLE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        texts(&[
            "MemTotal:       131072000 kB\nMemFree:  1000000 kB\nMemAvailable:   98000000 kB\nCached: 40000 kB\nSwapTotal: 8388604 kB\nSwapFree: 8388604 kB\nSReclaimable: 900 kB\nHugePages_Total:       0\n",
        ])
    });
    static COUNT: Count = Count::of("meminfo");
    bolero::check!().with_test_time(SHORT).with_max_len(MOST_EDITS).for_each(|edits: &[u8]| {
        let text = String::from_utf8_lossy(&input(&WHOLE, edits)).into_owned();
        COUNT.try_one(|| hardware::parse_meminfo(&text) != hardware::parse_meminfo(""));
    });
    COUNT.finish();
}

#[test]
fn fdinfo() {
    static WHOLE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        texts(&[
            "pos:\t0\nflags:\t02\ndrm-driver:\tamdgpu\ndrm-client-id:\t42\ndrm-pdev:\t0000:c5:00.0\ndrm-resident-vram:\t12 MiB\ndrm-resident-gtt:\t25769803 KiB\n",
            "drm-driver:\tamdgpu\ndrm-memory-vram:\t1024 KiB\ndrm-memory-gtt:\t7\n",
        ])
    });
    static COUNT: Count = Count::of("fdinfo");
    bolero::check!().with_test_time(SHORT).with_max_len(MOST_EDITS).for_each(|edits: &[u8]| {
        let text = String::from_utf8_lossy(&input(&WHOLE, edits)).into_owned();
        COUNT.try_one(|| hardware::parse_fdinfo(&text).is_some());
    });
    COUNT.finish();
}

#[test]
fn pressure_and_groups() {
    static WHOLE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        texts(&[
            "some avg10=0.00 avg60=1.25 avg300=99.99 total=123456\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
            "0::/user.slice/user-1000.slice/docker-0123.scope\n",
            "anon 4096\ninactive_file 8192\n",
        ])
    });
    static COUNT: Count = Count::of("pressure and control groups");
    bolero::check!().with_test_time(SHORT).with_max_len(MOST_EDITS).for_each(|edits: &[u8]| {
        let bytes = input(&WHOLE, edits);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        COUNT.try_one(|| {
            let group = hardware::parse_cgroup(&text).is_some();
            let file = hardware::parse_inactive_file(&text).is_some();
            hardware::parse_pressure(&text).is_some() || group || file
        });
    });
    COUNT.finish();
}
