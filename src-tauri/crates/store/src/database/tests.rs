use std::fs;
use std::os::unix::fs::MetadataExt;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_770_000_000 + seconds).unwrap()
}

fn user(conversation: i64, text: &str) -> NewMessage {
    NewMessage { conversation, role: Role::User, text: text.into(), state: MessageState::Done }
}

fn reply(conversation: i64) -> NewMessage {
    NewMessage { conversation, role: Role::Assistant, text: String::new(), state: MessageState::Streaming }
}

fn change(text: &str, state: MessageState) -> MessageChange {
    MessageChange { text: text.into(), thinking: String::new(), state, error: None, stats: Stats::default() }
}

#[test]
fn a_conversation_is_kept_with_its_title_and_figures() {
    let mut db = Database::in_memory().unwrap();
    let id = db.new_conversation("odin", at(0)).unwrap();
    db.add_message(&user(id, "What is a\nrune?"), at(1)).unwrap();
    db.add_message(&user(id, "And a second"), at(2)).unwrap();
    let answer = db.add_message(&reply(id), at(3)).unwrap();
    assert!(db.conversations(10).unwrap()[0].replying);
    let stats = Stats { tokens: Some(12), tokens_per_second: Some(20.5), first_token_seconds: Some(0.25) };
    let done = MessageChange { thinking: "hm".into(), stats, ..change("A letter.", MessageState::Done) };
    assert!(db.update_message(answer, &done, at(9)).unwrap());
    let (conversation, messages) = db.conversation(id).unwrap().unwrap();
    assert_eq!((conversation.title.as_str(), conversation.agent.as_str()), ("What is a rune?", "odin"));
    assert_eq!((conversation.created, conversation.updated, conversation.replying), (at(0), at(9), false));
    assert_eq!(messages.len(), 3);
    assert_eq!((messages[2].text.as_str(), messages[2].thinking.as_str()), ("A letter.", "hm"));
    assert_eq!((messages[2].stats, messages[2].role, messages[2].time), (stats, Role::Assistant, at(3)));
}

#[test]
fn the_latest_conversation_is_first_and_the_list_is_limited() {
    let mut db = Database::in_memory().unwrap();
    let ids: Vec<i64> = (0..5).map(|n| db.new_conversation("thor", at(n)).unwrap()).collect();
    db.add_message(&user(ids[1], "hello"), at(100)).unwrap();
    let listed: Vec<i64> = db.conversations(3).unwrap().iter().map(|c| c.id).collect();
    assert_eq!(listed, [ids[1], ids[4], ids[3]]);
}

#[test]
fn deleting_a_conversation_takes_its_messages_and_a_late_reply_finds_nothing() {
    let mut db = Database::in_memory().unwrap();
    let id = db.new_conversation("odin", at(0)).unwrap();
    let answer = db.add_message(&reply(id), at(1)).unwrap();
    assert!(db.delete_conversation(id).unwrap());
    assert!(!db.delete_conversation(id).unwrap());
    assert!(db.conversation(id).unwrap().is_none() && db.message(answer).unwrap().is_none());
    assert!(!db.update_message(answer, &change("late", MessageState::Done), at(2)).unwrap());
    assert!(db.add_message(&user(id, "hello?"), at(3)).is_err());
    assert_ne!(db.new_conversation("odin", at(4)).unwrap(), id, "a number is never used again");
}

#[test]
fn a_kill_in_mid_answer_keeps_what_had_arrived() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/asgard.db");
    let (id, answer) = {
        let mut db = Database::open(&path).unwrap().database;
        let id = db.new_conversation("odin", at(0)).unwrap();
        let answer = db.add_message(&reply(id), at(1)).unwrap();
        db.update_message(answer, &change("Half an ans", MessageState::Streaming), at(2)).unwrap();
        // Not closed: its files stay as a killed program leaves them.
        std::mem::forget(db);
        (id, answer)
    };
    let opened = Database::open(&path).unwrap();
    assert_eq!(opened.set_aside, None);
    let db = opened.database;
    let reason = json!({"code": "interrupted", "message": "Asgard ended."});
    assert_eq!(db.mark_streaming_as_failed(&reason).unwrap(), 1);
    assert_eq!(db.mark_streaming_as_failed(&reason).unwrap(), 0);
    let kept = db.message(answer).unwrap().unwrap();
    assert_eq!(
        (kept.text.as_str(), kept.state, kept.error),
        ("Half an ans", MessageState::Failed, Some(reason))
    );
    assert!(!db.conversation(id).unwrap().unwrap().0.replying);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_damaged_file_is_kept_and_a_new_one_begun() {
    for damage in [
        &b"this is no database, but long enough to be looked at as one .................."[..],
        &[0x53; 8192],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("asgard.db");
        fs::write(&path, damage).unwrap();
        let opened = Database::open(&path).unwrap();
        let aside = opened.set_aside.unwrap();
        assert!(matches!(aside.why, Why::Damaged(_)));
        assert_eq!(fs::read(&aside.moved_to).unwrap(), damage);
        assert!(aside.to_string().contains("asgard.db.damaged"), "{aside}");
        opened.database.new_conversation("odin", at(0)).unwrap();
    }
}

#[test]
fn damage_in_the_middle_of_a_real_file_is_found_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("asgard.db");
    {
        let mut db = Database::open(&path).unwrap().database;
        let id = db.new_conversation("odin", at(0)).unwrap();
        for _ in 0..50 {
            db.add_message(&user(id, &"words ".repeat(200)), at(1)).unwrap();
        }
    }
    let mut bytes = fs::read(&path).unwrap();
    let pages = bytes.len() / 4096;
    assert!(pages > 10);
    for page in 1..pages {
        bytes[page * 4096..page * 4096 + 64].fill(0xff);
    }
    fs::write(&path, &bytes).unwrap();
    let opened = Database::open(&path).unwrap();
    assert!(matches!(opened.set_aside.unwrap().why, Why::Damaged(_)));
    assert!(opened.database.conversations(10).unwrap().is_empty());
}

#[test]
fn the_first_format_is_brought_up_and_what_it_held_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("asgard.db");
    let id = {
        let mut db = Database::open(&path).unwrap().database;
        let id = db.new_conversation("odin", at(0)).unwrap();
        db.add_message(&user(id, "Kept?"), at(1)).unwrap();
        id
    };
    // The file as the first format left it.
    let before = rusqlite::Connection::open(&path).unwrap();
    let later =
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT IN
                 ('conversations', 'messages', 'events', 'starts', 'settings')";
    let later: Vec<String> = before
        .prepare(later)
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    assert!(later.iter().any(|table| table == "images"), "{later:?}");
    for table in later {
        before.execute_batch(&format!("DROP TABLE {table}")).unwrap();
    }
    before.execute_batch("PRAGMA user_version = 1").unwrap();
    drop(before);
    let opened = Database::open(&path).unwrap();
    assert_eq!(opened.set_aside, None);
    let mut db = opened.database;
    assert_eq!(db.conversation(id).unwrap().unwrap().1[0].text, "Kept?");
    let record = ImageRecord {
        reference: "r:latest".into(),
        digest: Some("sha256:1".into()),
        ..ImageRecord::default()
    };
    let version = VersionRecord {
        digest: "sha256:1".into(),
        backend: "vllm".into(),
        version: "vLLM 0.12.0".into(),
        flags: vec!["--port".into()],
    };
    for _ in 0..2 {
        db.put_image(&record).unwrap();
        db.put_image_version(&version).unwrap();
    }
    let newer = ImageRecord { previous: record.digest.clone(), digest: Some("sha256:2".into()), ..record };
    db.put_image(&newer).unwrap();
    drop(db);
    let db = Database::open(&path).unwrap().database;
    assert_eq!(db.images().unwrap(), std::slice::from_ref(&newer));
    assert_eq!(db.image("r:latest").unwrap(), Some(newer));
    assert_eq!(db.image("other").unwrap(), None);
    assert_eq!(db.image_version("sha256:1").unwrap(), Some(version.clone()));
    assert_eq!(db.image_versions().unwrap(), [version]);
    // A damaged row says nothing of flags, and still which version it is.
    db.connection.execute("UPDATE image_versions SET flags = '{'", []).unwrap();
    let read = db.image_version("sha256:1").unwrap().unwrap();
    assert_eq!((read.version.as_str(), read.flags.len()), ("vLLM 0.12.0", 0));
}

#[test]
fn a_newer_file_is_kept_and_the_notice_says_how_to_go_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("asgard.db");
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.execute_batch("CREATE TABLE future (x); PRAGMA user_version = 999;").unwrap();
    drop(newer);
    let opened = Database::open(&path).unwrap();
    let aside = opened.set_aside.unwrap();
    assert_eq!(aside.why, Why::Newer(999));
    assert!(aside.to_string().contains("newer"), "{aside}");
    let kept = rusqlite::Connection::open(&aside.moved_to).unwrap();
    assert!(kept.prepare("SELECT x FROM future").is_ok());
    assert_eq!(Database::open(&path).unwrap().set_aside, None);
}

#[test]
fn somebody_elses_database_under_our_name_is_kept_too() {
    for sql in ["CREATE TABLE conversations (x);", "PRAGMA user_version = 1;"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("asgard.db");
        rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let opened = Database::open(&path).unwrap();
        assert!(opened.set_aside.is_some(), "{sql}");
        opened.database.new_conversation("odin", at(0)).unwrap();
    }
}

#[test]
fn an_unusable_place_is_an_error_with_a_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let error = Database::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("cannot be opened") && error.contains("Check"), "{error}");
    assert!(folder.path().is_dir(), "and nothing was moved");
}

#[test]
fn events_are_capped_and_the_latest_comes_first() {
    let mut db = Database::in_memory().unwrap();
    for n in 0..i64::from(EVENTS_KEPT) + 20 {
        db.add_event(at(n), Severity::Info, Some("odin"), &format!("event {n}")).unwrap();
    }
    db.add_event(at(9999), Severity::Error, None, "the last").unwrap();
    let all = db.events(u32::MAX).unwrap();
    assert_eq!(all.len(), EVENTS_KEPT as usize);
    assert_eq!(
        (all[0].message.as_str(), all[0].severity, all[0].agent.clone()),
        ("the last", Severity::Error, None)
    );
    assert_eq!(all[1].message, "event 5019");
    assert_eq!(db.events(2).unwrap().len(), 2);
}

#[test]
fn start_times_are_the_median_of_the_last_five() {
    let mut db = Database::in_memory().unwrap();
    assert_eq!(db.start_seconds("odin").unwrap(), None);
    for seconds in [500.0, 90.0, f64::NAN, -1.0, 80.0] {
        db.record_start("odin", "r", seconds, at(0)).unwrap();
    }
    assert_eq!(
        db.start_seconds("odin").unwrap(),
        Some(90.0),
        "of 80, 90 and 500; what is no time does not count"
    );
    db.record_start("odin", "r", 84.0, at(5)).unwrap();
    assert_eq!(db.start_seconds("odin").unwrap(), Some(87.0), "between the middle two");
    for seconds in [20.0, 21.0, 22.0, 23.0, 900.0] {
        db.record_start("odin", "r", seconds, at(6)).unwrap();
    }
    assert_eq!(db.start_seconds("odin").unwrap(), Some(22.0));
    assert_eq!(db.start_seconds("thor").unwrap(), None);
}

#[test]
fn settings_are_kept_and_damage_reads_as_never_set() {
    let db = Database::in_memory().unwrap();
    assert_eq!(db.setting("after_login").unwrap(), None);
    db.set_setting("after_login", &json!("nothing")).unwrap();
    db.set_setting("after_login", &json!({"profile": "odin"})).unwrap();
    assert_eq!(db.setting("after_login").unwrap(), Some(json!({"profile": "odin"})));
    db.connection.execute("UPDATE settings SET value = '{'", []).unwrap();
    assert_eq!(db.setting("after_login").unwrap(), None);
}

#[test]
fn a_title_is_the_first_words() {
    assert_eq!(title_from("  Hello\n\tworld  "), "Hello world");
    assert_eq!(title_from(""), "");
    assert_eq!(
        title_from("Please explain how the memory of this machine is shared between the agents"),
        "Please explain how the memory of this machine is shared…"
    );
    assert_eq!(title_from(&"ö".repeat(100)), format!("{}…", "ö".repeat(59)));
}

proptest! {
    #[test]
    fn any_title_is_short_and_on_one_line(text in ".{0,300}") {
        let title = title_from(&text);
        prop_assert!(title.chars().count() <= 60);
        prop_assert!(!title.contains(char::is_control));
    }

    #[test]
    fn any_text_is_kept_as_it_is(text in any::<String>()) {
        let mut db = Database::in_memory().unwrap();
        let id = db.new_conversation("odin", at(0)).unwrap();
        let message = db.add_message(&user(id, &text), at(1)).unwrap();
        prop_assert_eq!(db.message(message).unwrap().unwrap().text, text);
    }
}
