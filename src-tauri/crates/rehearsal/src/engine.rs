//! The part that plays the engine: seats for as many requests as it takes at once, a queue before them, and tokens
//! that come at a set speed.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Interval;

use crate::answer::Reply;
use crate::args::{Command, Dialect};
use crate::fault::Kind;
use crate::holding::Holding;
use crate::journal::Event;
use crate::log::{Line, Log};
use crate::metrics::{Finish, Stats};
use crate::settings::Settings;

/// Reading a prompt costs this much for each token, up to [`LONGEST_PREFILL`].
const PREFILL: Duration = Duration::from_micros(200);
const LONGEST_PREFILL: Duration = Duration::from_millis(500);
/// Where an answer breaks off when it has to die in mid-stream: past the eight tokens of a readiness check.
const BREAK_AFTER: u64 = 12;

/// A request at work, as `/slots` and the cache usage see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AtWork {
    pub(crate) task: u64,
    pub(crate) prompt: u64,
    pub(crate) generated: u64,
    pub(crate) max_tokens: u64,
}

pub(crate) struct Engine {
    pub(crate) command: Command,
    pub(crate) settings: Settings,
    pub(crate) log: Log,
    pub(crate) holding: Arc<Holding>,
    /// Tokens that fit the KV cache.
    pub(crate) kv_tokens: u64,
    pub(crate) started: jiff::Timestamp,
    ready: AtomicBool,
    tasks: AtomicU64,
    ids: AtomicU64,
    waiting: AtomicUsize,
    seats: Arc<Semaphore>,
    slots: Mutex<Vec<Option<AtWork>>>,
    stats: Mutex<Stats>,
}

/// The engine died under a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crashed;

impl Engine {
    pub(crate) fn new(command: Command, settings: Settings, log: Log, holding: Arc<Holding>) -> Arc<Self> {
        let kv_tokens = crate::loading::kv_tokens(&command, &settings);
        let seats = Arc::new(Semaphore::new(command.sequences));
        Arc::new(Self {
            slots: Mutex::new(vec![None; command.sequences]),
            command,
            settings,
            log,
            holding,
            kv_tokens,
            started: jiff::Timestamp::now(),
            ready: AtomicBool::new(false),
            tasks: AtomicU64::new(0),
            ids: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            seats,
            stats: Mutex::default(),
        })
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    pub(crate) fn become_ready(&self) {
        self.holding.note(Event::Ready);
        self.ready.store(true, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn slots(&self) -> MutexGuard<'_, Vec<Option<AtWork>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(crate) fn running(&self) -> usize {
        self.slots().iter().flatten().count()
    }

    /// The share of the KV cache that requests at work fill, 0 to 1.
    pub(crate) fn kv_usage(&self) -> f64 {
        (self.tokens_in_use() as f64 / self.kv_tokens.max(1) as f64).min(1.0)
    }

    fn tokens_in_use(&self) -> u64 {
        self.slots().iter().flatten().map(|slot| slot.prompt + slot.generated).sum()
    }

    /// A fresh id of `length` letters and digits from `alphabet`. Unique is all it has to be.
    pub(crate) fn id(&self, length: usize, alphabet: &[u8]) -> String {
        use std::hash::{BuildHasher, RandomState};
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        let mut text = String::with_capacity(length);
        while text.len() < length {
            let mut hash = RandomState::new().hash_one((number, text.len()));
            for _ in 0..8.min(length - text.len()) {
                let at = usize::try_from(hash % alphabet.len().max(1) as u64).unwrap_or_default();
                text.push(alphabet.get(at).copied().map_or('0', char::from));
                hash /= alphabet.len().max(1) as u64;
            }
        }
        text
    }

    /// Sixteen hexadecimal digits, as vLLM's ids end.
    pub(crate) fn hex_id(&self) -> String {
        self.id(16, b"0123456789abcdef")
    }

    /// Ends the process as a crash would, after the books were closed: nobody kills it, so it can still do that.
    pub(crate) fn die(&self) -> ! {
        self.holding.release();
        std::process::exit(134)
    }

    /// Waits for a seat, reads the prompt, and is about to give the first token.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        prompt: u64,
        max_tokens: u64,
        reply: Reply,
    ) -> Result<Generation, Crashed> {
        let arrived = Instant::now();
        let seat = {
            let _queue = Queued::enter(self);
            // The semaphore is never closed; were it, nothing could be seated any more.
            Arc::clone(&self.seats).acquire_owned().await.map_err(|_| Crashed)?
        };
        let task = self.tasks.fetch_add(1, Ordering::Relaxed);
        self.holding.note(Event::Request);
        if self.settings.has(Kind::CrashFirstRequest) {
            self.crash();
            return Err(Crashed);
        }
        let slot = {
            let mut slots = self.slots();
            let free = slots.iter().position(Option::is_none).unwrap_or_default();
            if let Some(slot) = slots.get_mut(free) {
                *slot = Some(AtWork { task, prompt, generated: 0, max_tokens });
            }
            free
        };
        let seated = Instant::now();
        let mut generation = Generation {
            engine: Arc::clone(self),
            _seat: seat,
            slot,
            task,
            prompt,
            max_tokens,
            generated: 0,
            reply,
            next: 0,
            pace: tokio::time::interval(Duration::from_secs_f64(1.0 / self.settings.tokens_per_second)),
            arrived,
            seated,
            prefilled: seated,
            last: seated,
            ended: false,
            preempted: false,
        };
        if self.command.dialect == Dialect::Llama {
            self.log.print_all(&crate::llama::log::seated(&generation));
        }
        let prefill = PREFILL.saturating_mul(u32::try_from(prompt).unwrap_or(u32::MAX)).min(LONGEST_PREFILL);
        tokio::time::sleep(prefill).await;
        generation.prefilled = Instant::now();
        generation.last = generation.prefilled;
        generation.pace.reset();
        let mut stats = self.stats();
        stats.prompt_tokens += prompt;
        stats.prompt_time += prefill;
        drop(stats);
        Ok(generation)
    }

    fn crash(self: &Arc<Self>) {
        self.stats().failed += 1;
        if self.command.dialect == Dialect::Llama {
            self.log.print(&Line::raw(crate::vllm::failure::MEMORY_FAULT));
            self.die();
        }
        self.log.print_all(&crate::vllm::failure::worker_died(crate::vllm::failure::MEMORY_FAULT));
        let engine = Arc::clone(self);
        // The API process outlives its engine for a moment: long enough to answer with an error.
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            engine.die();
        });
    }
}

/// Counts as waiting for as long as it lives, whether a seat came or the client left.
struct Queued<'a>(&'a Engine);

impl<'a> Queued<'a> {
    fn enter(engine: &'a Engine) -> Self {
        engine.waiting.fetch_add(1, Ordering::Relaxed);
        Self(engine)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer under way. Dropping it before its end is what a client does that hangs up.
pub(crate) struct Generation {
    engine: Arc<Engine>,
    _seat: OwnedSemaphorePermit,
    pub(crate) slot: usize,
    pub(crate) task: u64,
    pub(crate) prompt: u64,
    max_tokens: u64,
    generated: u64,
    reply: Reply,
    next: usize,
    pace: Interval,
    arrived: Instant,
    seated: Instant,
    prefilled: Instant,
    last: Instant,
    ended: bool,
    preempted: bool,
}

impl Generation {
    /// The next piece of text, when its time has come; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        let piece = self.reply.pieces.get(self.next).cloned();
        // A stop is a token too, which is not shown.
        if piece.is_some() || (self.reply.finish == Finish::Stop && !self.ended) {
            self.pace.tick().await;
            self.count();
        }
        if piece.is_none() {
            self.end();
        }
        self.next += 1;
        piece
    }

    /// Whether the piece that came last was the last of all.
    pub(crate) fn at_last(&self) -> bool {
        self.next >= self.reply.pieces.len()
    }

    /// The rest of the answer as one text.
    pub(crate) async fn rest(&mut self) -> String {
        let mut text = String::new();
        while let Some(piece) = self.next().await {
            text.push_str(&piece);
        }
        text
    }

    pub(crate) fn reply(&self) -> &Reply {
        &self.reply
    }

    pub(crate) fn generated(&self) -> u64 {
        self.generated
    }

    /// Reading the prompt, and generating so far.
    pub(crate) fn times(&self) -> (Duration, Duration) {
        (self.prefilled - self.seated, self.last - self.prefilled)
    }

    fn count(&mut self) {
        let now = Instant::now();
        self.generated += 1;
        let mut stats = self.engine.stats();
        stats.generation_tokens += 1;
        stats.generation_time += now - self.last;
        stats.iteration_tokens.observe(1.0);
        if self.generated == 1 {
            stats.first_token.observe((now - self.arrived).as_secs_f64());
        } else {
            stats.between_tokens.observe((now - self.last).as_secs_f64());
        }
        drop(stats);
        self.last = now;
        if let Some(Some(slot)) = self.engine.slots().get_mut(self.slot) {
            slot.generated = self.generated;
        }
        // A full cache costs a request its place. It is counted once for each, and played no further: the answer
        // goes on.
        if !self.preempted && self.engine.tokens_in_use() > self.engine.kv_tokens {
            self.preempted = true;
            self.engine.stats().preempted += 1;
        }
        if self.generated > BREAK_AFTER && self.engine.settings.has(Kind::DieMidStream) {
            self.engine.log.print(&Line::raw(crate::vllm::failure::OUT_OF_MEMORY));
            self.engine.die();
        }
    }

    fn end(&mut self) {
        if self.ended {
            return;
        }
        self.ended = true;
        let now = Instant::now();
        let mut stats = self.engine.stats();
        match self.reply.finish {
            Finish::Length => stats.cut += 1,
            Finish::Stop | Finish::ToolCalls => stats.stopped += 1,
        }
        stats.longest = stats.longest.max(self.prompt + self.generated);
        stats.whole.observe((now - self.arrived).as_secs_f64());
        stats.queued.observe((self.seated - self.arrived).as_secs_f64());
        stats.prefill.observe((self.prefilled - self.seated).as_secs_f64());
        stats.decode.observe((now - self.prefilled).as_secs_f64());
        stats.inference.observe((now - self.seated).as_secs_f64());
        stats.prompt_sizes.observe(self.prompt as f64);
        stats.generation_sizes.observe(self.generated as f64);
        stats.max_tokens.observe(self.max_tokens as f64);
        if self.generated > 1 {
            stats
                .per_output_token
                .observe((self.last - self.prefilled).as_secs_f64() / self.generated as f64);
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if !self.ended {
            self.engine.stats().aborted += 1;
        }
        if self.engine.command.dialect == Dialect::Llama {
            self.engine.log.print_all(&crate::llama::log::released(self));
        }
        if let Some(slot) = self.engine.slots().get_mut(self.slot) {
            *slot = None;
        }
    }
}
