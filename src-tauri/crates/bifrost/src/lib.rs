//! The gateway: HTTP in, HTTP to an agent.
//!
//! One request, in the order of the files:
//!
//! 1. [`server`] accepts it, with limits on connections, headers and patience.
//! 2. [`door`] looks at `Host` and `Origin`: a web page must not reach the agents. [`paths`] says what its path means,
//!    and [`Dispatch`] whose key it brings; [`handle`] is the way through the three. What asks for nothing but an
//!    answer of the gateway's own gets it from [`own`].
//! 3. [`infer`] has [`body`] read it and keep it, past 1 MB in a file ([`spool`]), while [`wanted`] finds the model's
//!    name in it, and asks [`Dispatch`]: for a [`Lease`] on an agent, a place in the queue, or a [`Refusal`].
//! 4. Where that takes time, [`held`] opens the answer at once and keeps it alive, in the words of its [`protocol`].
//! 5. [`upstream`] sends the same bytes to the agent, with the agent's key, on a connection that it may have kept.
//! 6. [`passing`] hands the answer on, chunk by chunk, and holds the lease until the last byte or the hang-up, while
//!    [`meter`] counts what passes; [`trip`] writes the request's one record, however it ended.
//!
//! Deliberately absent: an engine, an agent's life, the order of a queue (all behind [`Dispatch`]); CORS headers;
//! decompression; `WebSockets`; a memory of answers (`GET /v1/responses/{id}`); a second try of a request of which a
//! byte may have been sent; a time-out on an answer under way that its lease does not set (a model may think for as
//! long as it likes).

mod body;
mod dispatch;
mod door;
mod handle;
mod headers;
mod held;
mod infer;
mod meter;
mod own;
mod passing;
mod paths;
mod protocol;
mod refusal;
mod route;
mod server;
mod socket;
mod spool;
mod trip;
mod upstream;
mod wanted;

pub use dispatch::{
    Asked, Client, Control, ControlAnswer, Dispatch, Lease, Model, Outcome, Presented, Record, Waiting,
    Wanted,
};
pub use refusal::Refusal;
pub use route::route;
pub use server::{Bound, Gateway, Settings};
