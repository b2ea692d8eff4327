//! What is kept: the stack file, the database, the log, the lock, the intent, and where all of it lies.
//!
//! One outside world: the user's own folders, and the keyring. All but the keyring is synchronous; who must not wait runs
//! it elsewhere.
//!
//! Deliberately absent: what the kept things mean (`domain`), when they are written (`app`), the network.

pub mod adoptions;
pub mod atomic;
pub mod confirm;
pub mod database;
pub mod identity;
pub mod intent;
pub mod lock;
pub mod log;
pub mod paths;
pub mod secrets;
pub mod stack_file;
