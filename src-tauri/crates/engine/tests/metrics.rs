//! What running servers say of themselves: recorded answers of real servers, the names of other versions, broken
//! texts, and what readings in a row tell.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use engine::metrics::{CacheConfig, Live, Meter, Scrape, Slots, Sum, read, read_slots};
use proptest::prelude::*;

fn capture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn a_real_vllm_is_read() {
    let cache = CacheConfig {
        blocks: Some(364),
        block_size: Some(128),
        kv_size_tokens: Some(46_592),
        max_concurrency: Some(22.75),
        kv_bytes: Some(1 << 30),
    };
    let quiet = Scrape {
        running: Some(0.0),
        waiting: Some(0.0),
        kv_cache_used: Some(0.0),
        prompt_tokens: Some(0.0),
        generated_tokens: Some(0.0),
        preemptions: Some(0.0),
        prefix_queries: Some(0.0),
        prefix_hits: Some(0.0),
        ttft: Some(Sum { sum: 0.0, count: 0.0 }),
        cache: Some(cache),
        started: Some(1_795_226_752.76),
    };
    assert_eq!(read(&capture("vllm-metrics-idle-fresh.txt")), quiet);
    let load = Scrape {
        running: Some(8.0),
        waiting: Some(4.0),
        kv_cache_used: Some(0.022_038_567_493_112_95),
        prompt_tokens: Some(722.0),
        generated_tokens: Some(668.0),
        prefix_queries: Some(722.0),
        ttft: Some(Sum { sum: 24.789_176_225_662_23, count: 22.0 }),
        ..quiet
    };
    assert_eq!(read(&capture("vllm-metrics-under-load.txt")), load);
    // Windows line ends, and a text that was cut in the middle of a line, change nothing before the cut.
    assert_eq!(read(&capture("vllm-metrics-under-load.txt").replace('\n', "\r\n")), load);
    let text = capture("vllm-metrics-under-load.txt");
    let cut = text.find("vllm:generation_tokens_total{").unwrap() + 40;
    let cut = read(&text[..cut]);
    assert_eq!((cut.prompt_tokens, cut.generated_tokens), (Some(722.0), None));
}

#[test]
fn a_real_llama_cpp_is_read() {
    let load = read(&capture("llama-metrics-under-load.txt"));
    assert_eq!(
        load,
        Scrape {
            running: Some(4.0),
            waiting: Some(2.0),
            prompt_tokens: Some(126.0),
            generated_tokens: Some(192.0),
            prefix_queries: Some(429.0),
            prefix_hits: Some(303.0),
            ..Scrape::default()
        }
    );
    assert_eq!(
        read_slots(capture("llama-slots-busy.json").as_bytes()),
        // Prompts of 48, 49, 48, 49 tokens, and 11, 12, 11, 12 generated.
        Some(Slots { total: 4, busy: 4, context_tokens: 4096, used_tokens: 240 })
    );
    assert_eq!(
        read_slots(capture("llama-slots-idle.json").as_bytes()),
        Some(Slots { total: 4, busy: 0, context_tokens: 4096, used_tokens: 0 })
    );
}

#[test]
fn readings_of_real_servers_in_a_row_give_speeds() {
    let at = |seconds| Duration::from_secs(seconds);
    let mut meter = Meter::default();
    let first = meter.next(at(0), &read(&capture("vllm-metrics-idle-fresh.txt")), None);
    assert_eq!((first.tokens_per_second, first.time_to_first_token_seconds), (None, None));
    assert_eq!((first.kv_capacity_tokens, first.kv_bytes), (Some(46_592), Some(1 << 30)));
    let load = meter.next(at(20), &read(&capture("vllm-metrics-under-load.txt")), None);
    assert_eq!((load.running, load.waiting, load.preemptions), (Some(8), Some(4), Some(0)));
    assert_eq!(load.tokens_per_second, Some(33.4));
    assert_eq!(load.prompt_tokens_per_second, Some(36.1));
    assert!((load.time_to_first_token_seconds.unwrap() - 24.789_176_225_662_23 / 22.0).abs() < 1e-12);
    let after = meter.next(at(40), &read(&capture("vllm-metrics-after.txt")), None);
    let mean = (62.282_390_832_901 - 24.789_176_225_662_23) / 5.0;
    assert!((after.time_to_first_token_seconds.unwrap() - mean).abs() < 1e-9);
    // Nobody asked since: it stays, and the speed is nothing.
    let quiet = meter.next(at(60), &read(&capture("vllm-metrics-after.txt")), None);
    assert_eq!(quiet.tokens_per_second, Some(0.0));
    assert_eq!(quiet.time_to_first_token_seconds, after.time_to_first_token_seconds);
    // Back to the beginning.
    let again = meter.next(at(80), &read(&capture("vllm-metrics-idle-fresh.txt")), None);
    assert!(again.restarted);
    assert_eq!((again.tokens_per_second, again.time_to_first_token_seconds), (None, None));
    assert!(!meter.next(at(81), &read(&capture("vllm-metrics-idle-fresh.txt")), None).restarted);

    let mut meter = Meter::default();
    meter.next(at(0), &read(&capture("llama-metrics-fresh.txt")), None);
    let slots = read_slots(capture("llama-slots-busy.json").as_bytes()).unwrap();
    let load = meter.next(at(10), &read(&capture("llama-metrics-under-load.txt")), Some(&slots));
    assert_eq!((load.running, load.waiting), (Some(4), Some(2)));
    assert_eq!((load.tokens_per_second, load.kv_capacity_tokens), (Some(19.2), Some(4096)));
    assert!((load.kv_cache_used.unwrap() - 240.0 / 4096.0).abs() < 1e-12);
}

/// Every name and form that a version has, and what is read of it.
#[test]
fn names_of_every_version_are_read() {
    let none = Scrape::default();
    let used = |share| Scrape { kv_cache_used: Some(share), ..none };
    let cache = |config| Scrape { cache: Some(config), ..none };
    for (text, wanted) in [
        // 0.11 had both names of the cache's use.
        (
            "vllm:kv_cache_usage_perc{engine=\"0\"} 0.25\nvllm:gpu_cache_usage_perc{engine=\"0\"} 0.75\n",
            used(0.25),
        ),
        ("vllm:gpu_cache_usage_perc{engine=\"0\"} 0.75\n", used(0.75)),
        ("vllm:kv_cache_usage_perc 1.0000001", used(1.0)),
        (
            "vllm:gpu_prefix_cache_queries_total 10\nvllm:gpu_prefix_cache_hits_total 4",
            Scrape { prefix_queries: Some(10.0), prefix_hits: Some(4.0), ..none },
        ),
        (
            "vllm:prefix_cache_queries_total 20\nvllm:gpu_prefix_cache_queries_total 10\nvllm:prefix_cache_hits_total 5",
            Scrape { prefix_queries: Some(20.0), prefix_hits: Some(5.0), ..none },
        ),
        (
            "vllm:num_preemptions 3\nvllm:prompt_tokens 7",
            Scrape { preemptions: Some(3.0), prompt_tokens: Some(7.0), ..none },
        ),
        // Where 0.11 and 0.16 say only blocks.
        (
            "vllm:cache_config_info{block_size=\"16\",cache_dtype=\"auto\",engine=\"0\",kv_cache_memory_bytes=\"None\",\
             num_gpu_blocks=\"2912\"} 1.0",
            cache(CacheConfig { blocks: Some(2912), block_size: Some(16), ..CacheConfig::default() }),
        ),
        // Two engines.
        (
            "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 2.0\n\
             vllm:num_requests_running{engine=\"1\",model_name=\"m\"} 3.0\n\
             vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"m\"} 0.1\n\
             vllm:kv_cache_usage_perc{engine=\"1\",model_name=\"m\"} 0.6\n\
             vllm:time_to_first_token_seconds_sum{engine=\"0\"} 1.5\n\
             vllm:time_to_first_token_seconds_sum{engine=\"1\"} 2.5\n\
             vllm:time_to_first_token_seconds_count{engine=\"0\"} 1\n\
             vllm:time_to_first_token_seconds_count{engine=\"1\"} 3\n\
             vllm:cache_config_info{engine=\"0\",block_size=\"16\",num_gpu_blocks=\"10\",kv_cache_max_concurrency=\"1.5\",kv_cache_memory_bytes=\"100\"} 1\n\
             vllm:cache_config_info{engine=\"1\",block_size=\"16\",num_gpu_blocks=\"12\",kv_cache_max_concurrency=\"2.5\",kv_cache_memory_bytes=\"200\"} 1\n",
            Scrape {
                running: Some(5.0),
                ttft: Some(Sum { sum: 4.0, count: 4.0 }),
                cache: Some(CacheConfig {
                    blocks: Some(22),
                    block_size: Some(16),
                    kv_size_tokens: None,
                    max_concurrency: Some(4.0),
                    kv_bytes: Some(300),
                }),
                ..used(0.6)
            },
        ),
        // Old builds of llama.cpp knew the cache's use themselves.
        ("llamacpp:kv_cache_usage_ratio 0.5\nllamacpp:kv_cache_tokens 12", used(0.5)),
        // A time and an example after the value, spaces, exponents.
        (
            "  vllm:generation_tokens_total{engine=\"0\"}   1.5e+3 1700000000 # {trace=\"x\"} 0.5  \n",
            Scrape { generated_tokens: Some(1500.0), ..none },
        ),
    ] {
        assert_eq!(read(text), wanted, "{text}");
    }
}

#[test]
fn what_is_broken_says_nothing() {
    for text in [
        "",
        "\n\n{}\n",
        "vllm:num_requests_running",
        "vllm:num_requests_running{",
        "vllm:num_requests_running{engine=\"0\"",
        "vllm:num_requests_running{engine=\"0\"}",
        "vllm:num_requests_running{engine=\"}\" 3",
        "vllm:num_requests_running{engine=\"0\"} three",
        "vllm:num_requests_running NaN",
        "vllm:num_requests_running +Inf",
        "vllm:num_requests_running -Inf",
        "vllm:num_requests_running -1",
        "vllm:num_requests_running_created 5",
        "vllm:num_requests_waiting_by_reason{reason=\"capacity\"} 5",
        "vllm:prompt_tokens_created 5",
        "vllm:time_to_first_token_seconds_created 5",
        "vllm:time_to_first_token_seconds_sum 5",
        "vllm:time_to_first_token_seconds_bucket{le=\"1\"} 5",
        "vllm:iteration_tokens_total_sum 5",
        "# vllm:num_requests_running 5",
        "other:num_requests_running 5",
        "<html>vllm:num_requests_running 5</html>",
    ] {
        assert_eq!(read(text), Scrape::default(), "{text}");
    }
    for json in [
        "",
        "{}",
        "[]",
        "null",
        "7",
        "[1, \"x\"]",
        "{\"error\": {\"code\": 503}}",
        "[{\"n_ctx\": 1",
        "{\"slots\": 1}",
    ] {
        assert_eq!(read_slots(json.as_bytes()), None, "{json}");
    }
    assert_eq!(read_slots(&[0xff, 0xfe, b'[']), None);
}

#[test]
fn values_of_labels_may_hold_anything() {
    let text = r#"vllm:num_requests_running{model_name="a}b,c=\"d\" \\",engine="0"} 1
vllm:num_requests_running{model_name="a}b,c=\"d\" \\",engine="1"} 2
vllm:cache_config_info{cache_dtype="x\",num_gpu_blocks=\"9",layers="[1, {2}]", num_gpu_blocks="5",block_size="1.6e1",} 1.0
"#;
    let scrape = read(text);
    assert_eq!(scrape.running, Some(3.0));
    let config = CacheConfig { blocks: Some(5), block_size: Some(16), ..CacheConfig::default() };
    assert_eq!(scrape.cache, Some(config));
    // Absurd counts are no counts.
    for count in ["-1", "NaN", "1e300", "None", "", "9x"] {
        let text = format!("vllm:cache_config_info{{num_gpu_blocks=\"{count}\"}} 1");
        assert_eq!(read(&text).cache, Some(CacheConfig::default()), "{count}");
    }
}

#[test]
fn a_series_that_stands_there_twice_counts_once() {
    let text = "vllm:prompt_tokens_total{engine=\"0\"} 5\nvllm:prompt_tokens_total{engine=\"0\"} 6\n\
                vllm:prompt_tokens_total{engine=\"0\"} NaN\n";
    assert_eq!(read(text).prompt_tokens, Some(6.0));
}

#[test]
fn a_long_text_is_read_in_no_time() {
    let mut text = String::new();
    for engine in 0..200_000 {
        writeln!(text, "vllm:num_requests_running{{engine=\"{engine}\"}} 1").unwrap();
    }
    text.push_str(&"{\"\\".repeat(500_000));
    let began = std::time::Instant::now();
    assert_eq!(read(&text).running, Some(200_000.0));
    // A reader that looks at each pair of lines would take minutes.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn slots_of_every_version_are_read() {
    for (json, wanted) in [
        // The oldest: a state, the prompt itself, one next token.
        (
            r#"[{"id":0,"n_ctx":2048,"state":1,"prompt":[1,2,3],"next_token":{"n_decoded":4}},
                {"id":1,"n_ctx":2048,"state":0,"prompt":"old","next_token":{"n_decoded":9}}]"#,
            Slots { total: 2, busy: 1, context_tokens: 4096, used_tokens: 7 },
        ),
        (
            r#"[{"id":0,"n_ctx":2048,"is_processing":true,"n_past":100,"next_token":{"n_decoded":4}}]"#,
            Slots { total: 1, busy: 1, context_tokens: 2048, used_tokens: 100 },
        ),
        (
            r#"[{"id":0,"n_ctx":512,"is_processing":true,"n_prompt_tokens":50,"next_token":[{"n_decoded":4}]}]"#,
            Slots { total: 1, busy: 1, context_tokens: 512, used_tokens: 54 },
        ),
        (
            r#"[{"id":0,"n_ctx":512,"is_processing":true,"n_prompt_tokens":50,"n_decoded":4.0,"next_token":[]}]"#,
            Slots { total: 1, busy: 1, context_tokens: 512, used_tokens: 54 },
        ),
        (
            r#"{"slots":[{"n_ctx":8,"is_processing":true,"n_prompt_tokens":50}]}"#,
            Slots { total: 1, busy: 1, context_tokens: 8, used_tokens: 8 },
        ),
        // Lies.
        (
            r#"[{"n_ctx":-5,"is_processing":"yes"},{"n_ctx":"x","state":-1},{}]"#,
            Slots { total: 3, busy: 0, context_tokens: 0, used_tokens: 0 },
        ),
        (
            r#"[{"is_processing":true,"n_prompt_tokens":18446744073709551615,"next_token":[{"n_decoded":9}]},
                {"n_ctx":18446744073709551615},{"n_ctx":18446744073709551615}]"#,
            Slots { total: 3, busy: 1, context_tokens: u64::MAX, used_tokens: u64::MAX },
        ),
    ] {
        assert_eq!(read_slots(json.as_bytes()), Some(wanted), "{json}");
    }
}

fn tokens(generated: f64) -> Scrape {
    Scrape { generated_tokens: Some(generated), ..Scrape::default() }
}

#[test]
fn speeds_need_two_readings_that_are_neither_at_once_nor_far_apart() {
    let ms = Duration::from_millis;
    let mut meter = Meter::default();
    assert_eq!(meter.next(ms(0), &tokens(100.0), None).tokens_per_second, None);
    assert_eq!(meter.next(ms(2_000), &tokens(150.0), None).tokens_per_second, Some(25.0));
    assert_eq!(meter.next(ms(2_000), &tokens(160.0), None).tokens_per_second, None, "the same instant");
    // What came at that instant is not lost.
    assert_eq!(meter.next(ms(4_000), &tokens(170.0), None).tokens_per_second, Some(10.0));
    assert_eq!(meter.next(ms(64_000), &tokens(770.0), None).tokens_per_second, Some(10.0));
    assert_eq!(meter.next(ms(124_001), &tokens(9_000.0), None).tokens_per_second, None, "too long ago");
    assert_eq!(meter.next(ms(125_001), &tokens(9_001.0), None).tokens_per_second, Some(1.0));
    assert_eq!(
        meter.next(ms(125_000), &tokens(9_002.0), None).tokens_per_second,
        None,
        "a clock that went back"
    );
    assert_eq!(meter.next(ms(126_000), &tokens(9_012.0), None).tokens_per_second, Some(10.0));
    // A reading without the counter leaves the base.
    let live = meter.next(ms(127_000), &Scrape::default(), None);
    assert_eq!((live.tokens_per_second, live.restarted), (None, false));
    assert_eq!(meter.next(ms(128_000), &tokens(9_022.0), None).tokens_per_second, Some(5.0));
}

type Change = fn(&mut Scrape);

#[test]
fn any_counter_that_falls_is_a_restart() {
    let full = Scrape {
        prompt_tokens: Some(10.0),
        generated_tokens: Some(10.0),
        preemptions: Some(10.0),
        prefix_queries: Some(10.0),
        prefix_hits: Some(10.0),
        ttft: Some(Sum { sum: 5.0, count: 10.0 }),
        started: Some(1000.0),
        ..Scrape::default()
    };
    let later = |change: fn(&mut Scrape)| {
        let mut scrape = Scrape { prompt_tokens: Some(20.0), generated_tokens: Some(20.0), ..full };
        change(&mut scrape);
        scrape
    };
    let cases: [(Change, bool); 10] = [
        (|_| {}, false),
        (|s| s.prompt_tokens = Some(9.0), true),
        (|s| s.generated_tokens = Some(0.0), true),
        (|s| s.preemptions = Some(9.0), true),
        (|s| s.prefix_queries = Some(9.0), true),
        (|s| s.prefix_hits = Some(9.0), true),
        (|s| s.ttft = Some(Sum { sum: 9.0, count: 9.0 }), true),
        // Busier than before within one reading, which only the process's own time tells.
        (|s| s.started = Some(1010.0), true),
        (|s| s.started = Some(1000.5), false),
        (|s| *s = Scrape { running: Some(1.0), ..Scrape::default() }, false),
    ];
    for (at, (change, restarted)) in cases.into_iter().enumerate() {
        let mut meter = Meter::default();
        assert!(!meter.next(Duration::from_secs(1), &full, None).restarted);
        let live = meter.next(Duration::from_secs(3), &later(change), None);
        assert_eq!(live.restarted, restarted, "{at}");
        if restarted {
            assert_eq!((live.tokens_per_second, live.prompt_tokens_per_second), (None, None), "{at}");
        }
        // From there it goes on.
        assert!(!meter.next(Duration::from_secs(5), &later(change), None).restarted, "{at}");
    }
    // A fall is seen across a reading that did not have the counter.
    let mut meter = Meter::default();
    meter.next(Duration::from_secs(1), &full, None);
    meter.next(Duration::from_secs(2), &Scrape::default(), None);
    assert!(meter.next(Duration::from_secs(3), &tokens(1.0), None).restarted);
}

#[test]
fn the_first_token_of_a_new_server_is_not_that_of_the_old() {
    let first = |sum, count| Scrape { ttft: Some(Sum { sum, count }), ..Scrape::default() };
    let mut meter = Meter::default();
    let mut next =
        |at, scrape| meter.next(Duration::from_secs(at), &scrape, None).time_to_first_token_seconds;
    // Hours of work before the first reading say nothing of now.
    assert_eq!(next(0, first(100.0, 50.0)), None);
    assert_eq!(next(2, first(103.0, 52.0)), Some(1.5));
    assert_eq!(next(4, first(103.0, 52.0)), Some(1.5), "kept");
    assert_eq!(next(6, Scrape::default()), Some(1.5), "kept");
    assert_eq!(next(8, first(103.5, 53.0)), Some(0.5));
    assert_eq!(next(10, first(0.0, 0.0)), None, "another server");
    assert_eq!(next(12, first(4.0, 2.0)), Some(2.0));
    // It began anew and answered already.
    assert_eq!(next(14, first(0.25, 1.0)), Some(0.25));
}

proptest! {
    #[test]
    fn no_text_breaks_the_readers(text in any::<String>(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&text);
        let _ = read_slots(&bytes);
        let _ = read_slots(text.as_bytes());
    }

    #[test]
    fn no_text_like_metrics_breaks_the_reader(
        text in r#"((vllm:|llamacpp:|process_)?(num_requests_running|prompt_tokens_total|cache_config_info|kv_cache_usage_perc)?[{}"\\=, #a-z0-9.eE+-]{0,30}(NaN|Inf)?\r?\n){0,12}"#
    ) {
        let scrape = read(&text);
        for value in [scrape.running, scrape.prompt_tokens, scrape.kv_cache_used].into_iter().flatten() {
            prop_assert!(value.is_finite() && value >= 0.0, "{value}");
        }
    }

    #[test]
    fn labels_of_any_text_are_one_series_each(names in prop::collection::hash_set(".{0,12}", 1..6)) {
        let escaped = |name: &str| name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let mut text = String::new();
        for name in &names {
            // What `str::lines` takes for an end must be no part of a name.
            prop_assume!(!name.contains('\r'));
            writeln!(text, "vllm:num_requests_running{{model_name=\"{}\"}} 1", escaped(name)).unwrap();
        }
        prop_assert_eq!(read(&text).running, Some(names.len() as f64));
    }

    #[test]
    fn no_readings_give_absurd_figures(
        readings in prop::collection::vec((0_u64..200, prop::array::uniform6(prop::num::f64::ANY), any::<bool>()), 1..20)
    ) {
        let mut meter = Meter::default();
        for (at, [a, b, c, d, e, f], present) in readings {
            let scrape = Scrape {
                running: Some(a),
                kv_cache_used: Some(b),
                generated_tokens: present.then_some(c),
                prompt_tokens: Some(d),
                ttft: present.then_some(Sum { sum: e, count: f }),
                preemptions: Some(a),
                ..Scrape::default()
            };
            let live: Live = meter.next(Duration::from_secs(at), &scrape, None);
            let rates = [live.tokens_per_second, live.prompt_tokens_per_second, live.time_to_first_token_seconds];
            for rate in rates.into_iter().flatten() {
                prop_assert!(rate.is_finite() && rate >= 0.0, "{rate}");
            }
            prop_assert!(live.kv_cache_used.is_none_or(|share| (0.0..=1.0).contains(&share)));
        }
    }
}
