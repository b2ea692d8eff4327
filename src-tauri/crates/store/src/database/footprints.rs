//! What agents were seen to take at their starts.

use domain::footprint::{Key, Observation};
use domain::memory::Bytes;
use jiff::Timestamp;
use rusqlite::{Row, params};

use super::{Database, Result, to_millis};

/// Observations that are kept of each key: more than are ever learned from, so that a drift can be seen.
pub const FOOTPRINTS_KEPT: u32 = 20;

/// The columns of a key, in the order of [`values`].
const SAME_KEY: &str = "model = ?1 AND revision = ?2 AND image = ?3 AND backend = ?4 AND tensor_parallel = ?5 \
                        AND sequences = ?6 AND batched_tokens = ?7";

/// Numbers are kept as text too, so that a key is compared in one way.
fn values(key: &Key) -> [String; 7] {
    [
        key.model.clone(),
        key.revision.clone(),
        key.image.clone(),
        key.backend.clone(),
        key.tensor_parallel.to_string(),
        key.sequences.to_string(),
        key.batched_tokens.to_string(),
    ]
}

/// SQLite counts to 2^63; what is beyond is no amount of memory.
fn to_column(bytes: Bytes) -> i64 {
    i64::try_from(bytes.0).unwrap_or(i64::MAX)
}

fn observation(row: &Row<'_>) -> rusqlite::Result<Observation> {
    let bytes = |column| row.get::<_, i64>(column).map(|b| Bytes(u64::try_from(b).unwrap_or_default()));
    Ok(Observation { weights: bytes(0)?, kv: bytes(1)?, peak: bytes(2)?, steady: bytes(3)? })
}

impl Database {
    /// Keeps one, and forgets the oldest beyond [`FOOTPRINTS_KEPT`] of the same key.
    pub fn add_footprint(&mut self, key: &Key, observation: &Observation, time: Timestamp) -> Result<()> {
        let transaction = self.connection.transaction()?;
        let [model, revision, image, backend, tensor_parallel, sequences, batched_tokens] = values(key);
        transaction.execute(
            "INSERT INTO footprints (model, revision, image, backend, tensor_parallel, sequences, batched_tokens,
             weights, kv, peak, steady, time) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                model,
                revision,
                image,
                backend,
                tensor_parallel,
                sequences,
                batched_tokens,
                to_column(observation.weights),
                to_column(observation.kv),
                to_column(observation.peak),
                to_column(observation.steady),
                to_millis(time),
            ],
        )?;
        let forget = format!(
            "DELETE FROM footprints WHERE {SAME_KEY} AND id NOT IN
             (SELECT id FROM footprints WHERE {SAME_KEY} ORDER BY id DESC LIMIT {FOOTPRINTS_KEPT})"
        );
        transaction.execute(&forget, values(key))?;
        transaction.commit()?;
        Ok(())
    }

    /// What was seen of a key, oldest first.
    pub fn footprints(&self, key: &Key) -> Result<Vec<Observation>> {
        let sql = format!("SELECT weights, kv, peak, steady FROM footprints WHERE {SAME_KEY} ORDER BY id");
        let mut query = self.connection.prepare(&sql)?;
        let rows = query.query_map(values(key), observation)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Forgets what was seen of a key: for a person who knows that it was wrong.
    pub fn forget_footprints(&mut self, key: &Key) -> Result<()> {
        self.connection.execute(&format!("DELETE FROM footprints WHERE {SAME_KEY}"), values(key))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key {
            model: "Qwen/Qwen2.5-14B-Instruct-AWQ".into(),
            revision: "5b7c6a7".into(),
            image: "sha256:1".into(),
            backend: "vllm".into(),
            tensor_parallel: 1,
            sequences: 4,
            batched_tokens: 2048,
        }
    }

    fn seen(steady: u64) -> Observation {
        Observation {
            weights: Bytes(10),
            kv: Bytes(12),
            peak: Bytes(steady.saturating_add(3)),
            steady: Bytes(steady),
        }
    }

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_last_twenty_of_each_key_are_kept_in_their_order() {
        let mut db = Database::in_memory().unwrap();
        assert_eq!(db.footprints(&key()).unwrap(), []);
        let other = Key { sequences: 5, ..key() };
        db.add_footprint(&other, &seen(1), time(0)).unwrap();
        for n in 0..25 {
            // A clock that goes backwards changes nothing.
            db.add_footprint(&key(), &seen(n), time(100 - i64::try_from(n).unwrap())).unwrap();
        }
        let expected: Vec<_> = (5..25).map(seen).collect();
        assert_eq!(db.footprints(&key()).unwrap(), expected);
        assert_eq!(db.footprints(&other).unwrap(), [seen(1)]);
        db.forget_footprints(&key()).unwrap();
        assert_eq!(db.footprints(&key()).unwrap(), []);
        assert_eq!(db.footprints(&other).unwrap(), [seen(1)]);
    }

    #[test]
    fn every_part_of_the_key_keeps_apart() {
        let mut db = Database::in_memory().unwrap();
        db.add_footprint(&key(), &seen(7), time(0)).unwrap();
        for other in [
            Key { model: "another".into(), ..key() },
            Key { revision: String::new(), ..key() },
            Key { image: "sha256:2".into(), ..key() },
            Key { backend: "llama.cpp".into(), ..key() },
            Key { tensor_parallel: 2, ..key() },
            Key { sequences: 8, ..key() },
            Key { batched_tokens: 0, ..key() },
        ] {
            assert_eq!(db.footprints(&other).unwrap(), [], "{other:?}");
        }
        assert_eq!(db.footprints(&key()).unwrap(), [seen(7)]);
    }

    #[test]
    fn what_no_column_holds_is_the_largest_that_one_does() {
        let mut db = Database::in_memory().unwrap();
        db.add_footprint(&key(), &seen(u64::MAX), time(0)).unwrap();
        let [only] = db.footprints(&key()).unwrap()[..] else { panic!("one") };
        assert_eq!(only.steady, Bytes(1 << 63).saturating_sub(Bytes(1)));
    }
}
