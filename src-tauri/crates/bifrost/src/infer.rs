//! One request to an agent: its body, its lease, the head of its answer.
//!
//! Dropped at any point when the client hangs up: the queue is left, the agent hears of it, the lease goes back.

use std::sync::Arc;
use std::time::Duration;

use domain::schedule::Place;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode, Uri, response};
use http_body_util::Either;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::handle::{Hall, refused};
use crate::passing::Passing;
use crate::protocol::{Protocol, whole};
use crate::refusal::{Body, Problem};
use crate::trip::Trip;
use crate::{
    Asked, Client, Lease, Outcome, Refusal, Waiting, Wanted, body, headers, held, own, route, upstream,
};

/// On an answer that was held: how long, in seconds.
const WAITED: HeaderName = HeaderName::from_static("x-asgard-waited");
const PREFER: HeaderName = HeaderName::from_static("prefer");
/// What a client is told to wait where nobody knows better.
const AGAIN: u64 = 5;
/// An agent that takes no connection has most likely just ended, and the engine says so within moments; then the
/// request has its place in the queue. After so long it is told.
const GONE: Duration = Duration::from_millis(900);
/// The first pause before the schedule is asked again; each is twice the one before.
const PAUSE: Duration = Duration::from_millis(20);

/// A request that is known, and has no agent yet.
pub(crate) struct Errand {
    hall: Arc<Hall>,
    uri: Uri,
    pub(crate) headers: HeaderMap,
    body: body::Held,
    pub(crate) wanted: Wanted,
    pub(crate) protocol: Protocol,
    pub(crate) trip: Trip,
    /// The client has its status and head already.
    opened: bool,
}

impl Hall {
    pub(crate) async fn infer(
        self: &Arc<Self>,
        head: Parts,
        body: Incoming,
        client: Client,
        mut trip: Trip,
    ) -> Response<Body> {
        let protocol = Protocol::of(head.uri.path());
        if let Err(problem) = readable(&head.headers) {
            return refused(&mut trip, problem, protocol);
        }
        let Some(open) = self.opened.open(self.settings.max_streams) else {
            let message = "The gateway has as many requests open as it may have. Try again in a moment.";
            let full = Refusal::Busy { message: message.to_owned(), retry_after: 1 };
            return refused(&mut trip, full.into(), protocol);
        };
        trip.holds(open);
        let body = match body::receive(body, &self.settings).await {
            Ok(body) => body,
            Err(problem) => return refused(&mut trip, problem, protocol),
        };
        let streams = body.named.stream && protocol.streams();
        let patience =
            preferred(&head.headers).or((!self.settings.hold && !streams).then_some(Duration::ZERO));
        let mut wanted = Wanted {
            returns: patience.is_some(),
            model: body.named.model.clone(),
            path: head.uri.path().to_owned(),
            stream: body.named.stream,
            client,
        };
        trip.asks(&wanted);
        if let Err(problem) = self.permit(&mut wanted) {
            return refused(&mut trip, problem, protocol);
        }
        let (asked, reached) = self.ask_and_reach(&wanted).await;
        let mut errand = Errand {
            hall: Arc::clone(self),
            uri: head.uri,
            headers: head.headers,
            body,
            wanted,
            protocol,
            trip,
            opened: false,
        };
        match asked {
            Asked::Granted(lease) => match errand.ask(lease, reached).await {
                Ok(answer) => passed_on(answer),
                Err(problem) => problem.answer(protocol),
            },
            Asked::Refused(refusal) => {
                let models = self.dispatch.models();
                let means = route(&models, &errand.wanted.model).and_then(|at| models.get(at));
                errand.trip.means(means.map(|model| &model.id));
                refused(&mut errand.trip, refusal.into(), protocol)
            }
            Asked::Waiting(waiting) => {
                errand.trip.waits(&waiting);
                self.wait(errand, waiting, patience).await
            }
        }
    }

    /// Asks for a lease and goes to the agent, and asks once more where nobody is there: nothing was sent yet.
    async fn ask_and_reach(&self, wanted: &Wanted) -> (Asked, Option<Result<upstream::Reached, String>>) {
        let (began, mut pause) = (Instant::now(), PAUSE);
        loop {
            let asked = self.dispatch.ask(wanted);
            let Asked::Granted(lease) = &asked else { return (asked, None) };
            let reached = upstream::reach(&self.pool, lease).await;
            if reached.is_ok() || began.elapsed() + pause > GONE {
                return (asked, Some(reached));
            }
            // The lease goes back before the pause.
            drop(asked);
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// A stream that waits is opened at once; everything else is held, for as long as its client and the settings
    /// have it.
    async fn wait(&self, errand: Errand, waiting: Waiting, patience: Option<Duration>) -> Response<Body> {
        let protocol = errand.protocol;
        let streams = errand.wanted.stream && protocol.streams();
        if streams && patience != Some(Duration::ZERO) {
            return held::open(errand, waiting, patience, self.settings.beat);
        }
        let began = Instant::now();
        let mut answer = match errand.held(waiting, patience).await {
            Ok(answer) => passed_on(answer),
            Err(problem) => problem.answer(protocol),
        };
        let waited = format!("{:.1}", began.elapsed().as_secs_f64());
        if let Ok(waited) = HeaderValue::try_from(waited) {
            answer.headers_mut().insert(WAITED, waited);
        }
        answer
    }

    /// Whether the client's key is for the agent that is meant. Where it is for some alone, the model's id means the
    /// one of them that has it, which is asked for by its name from here on.
    fn permit(&self, wanted: &mut Wanted) -> Result<(), Problem> {
        if wanted.client.agents.is_none() {
            return Ok(());
        }
        let (all, theirs) = (self.dispatch.models(), self.models_for(&wanted.client));
        if let Some(model) = route(&theirs, &wanted.model).and_then(|at| theirs.get(at)) {
            wanted.model = model.id.to_string();
            return Ok(());
        }
        if let Some(model) = route(&all, &wanted.model).and_then(|at| all.get(at)) {
            return Err(own::not_allowed(&wanted.client, model));
        }
        let names: Vec<&str> = theirs.iter().map(|model| model.id.as_str()).collect();
        let message =
            format!("There is no agent or model {:?}. Ask for one of: {}.", wanted.model, names.join(", "));
        Err(Refusal::UnknownModel { message }.into())
    }
}

impl Errand {
    /// Waits for the lease, then asks. What goes wrong is noted.
    async fn held(
        mut self,
        waiting: Waiting,
        patience: Option<Duration>,
    ) -> Result<(response::Parts, Passing), Problem> {
        match lease(waiting, patience).await {
            Ok(lease) => self.ask(lease, None).await,
            Err(problem) => {
                self.refused(&problem);
                Err(problem)
            }
        }
    }

    /// There is no lease.
    pub(crate) fn refused(&mut self, problem: &Problem) {
        if !self.opened {
            self.trip.answers(problem.status);
        }
        self.trip.ends(Outcome::Refused, Some(problem.message.clone()));
    }

    /// Asks the agent; the answer's body has not begun. What goes wrong is noted. `reached`: its connection, where it
    /// was looked for already.
    pub(crate) async fn ask(
        self,
        lease: Lease,
        reached: Option<Result<upstream::Reached, String>>,
    ) -> Result<(response::Parts, Passing), Problem> {
        let Self { hall, uri, headers, body, mut trip, opened, .. } = self;
        trip.granted(&lease);
        let agent = lease.agent.proper();
        let headers = headers::for_agent(&headers, &lease.key);
        let asked = async {
            let reached = match reached {
                Some(reached) => reached?,
                None => upstream::reach(&hall.pool, &lease).await?,
            };
            upstream::ask(&hall.pool, &lease, reached, &uri, headers, body).await
        };
        let unreachable = |why: String| {
            tracing::warn!(agent = %lease.agent, "{agent} {why}.");
            let message = format!("{agent} {why}. See its log: asgard logs {}", lease.agent);
            Problem::server(StatusCode::BAD_GATEWAY, "agent_unreachable", message)
        };
        let answered = match lease.max_seconds {
            None => asked.await.map_err(unreachable),
            Some(seconds) => {
                if let Ok(answered) = tokio::time::timeout(Duration::from_secs(seconds), asked).await {
                    answered.map_err(unreachable)
                } else {
                    let message = format!(
                        "{agent} did not answer within {seconds} s. Ask for less, or raise the limit."
                    );
                    Err(Problem::server(StatusCode::GATEWAY_TIMEOUT, "agent_too_slow", message))
                }
            }
        };
        match answered {
            Ok((answer, connection)) => {
                let (head, body) = answer.into_parts();
                if !opened {
                    trip.answers(head.status);
                }
                let passing = Passing::new(body, &head.headers, connection, lease, trip);
                Ok((head, passing))
            }
            Err(problem) => {
                if !opened {
                    trip.answers(problem.status);
                }
                trip.ends(Outcome::Broken, Some(problem.message.clone()));
                Err(problem)
            }
        }
    }

    /// The answer will be put into a stream that is open already. Its head says nothing of a coding.
    pub(crate) fn opens(&mut self) {
        self.opened = true;
        self.trip.answers(StatusCode::OK);
        self.headers.remove(ACCEPT_ENCODING);
    }
}

/// The agent's own answer, not altered.
fn passed_on((head, passing): (response::Parts, Passing)) -> Response<Body> {
    let mut ours = Response::new(Either::Right(Either::Left(passing)));
    *ours.status_mut() = head.status;
    *ours.headers_mut() = headers::for_client(head.headers);
    ours
}

/// The lease at the end of the wait, or why there is none. No patience is as long as it takes.
pub(crate) async fn lease(waiting: Waiting, patience: Option<Duration>) -> Result<Lease, Problem> {
    let place = waiting.place.clone();
    let wait = waiting.wait();
    let Some(patience) = patience else { return wait.await.map_err(Problem::from) };
    match tokio::time::timeout(patience, wait).await {
        Ok(outcome) => outcome.map_err(Problem::from),
        Err(_) => Err(still_waiting(&place.borrow())),
    }
}

fn still_waiting(place: &Place) -> Problem {
    let left = whole(place.seconds_left);
    let time = left.map(|seconds| format!(", about {seconds} s left")).unwrap_or_default();
    let message = format!(
        "{} is not ready yet: {}, place {} in its queue{time}. Ask again then, or with \"stream\": true.",
        place.agent.proper(),
        place.stage,
        place.place,
    );
    Problem::server(StatusCode::SERVICE_UNAVAILABLE, "agent_loading", message).later(left.unwrap_or(AGAIN))
}

/// What a body that is no plain JSON is told.
fn readable(headers: &HeaderMap) -> Result<(), Problem> {
    let unsupported =
        |code, message| Err(Problem::request(StatusCode::UNSUPPORTED_MEDIA_TYPE, code, message));
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        let message = "The request is compressed, and its model cannot be read. Send it as plain JSON.";
        return unsupported("compressed", message);
    }
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if kind.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/")) {
        let message = "The request is a form with files, and its model cannot be read. Send it as JSON, or ask the \
                       agent's own port.";
        return unsupported("multipart", message);
    }
    Ok(())
}

/// `Prefer: wait=10` (RFC 7240, 4.3): how long the client would rather wait. What is no number counts as not said.
fn preferred(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let seconds = name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))?;
        seconds.parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wish_to_wait_is_read_as_it_is_written() {
        let check = |lines: &[&'static str], expected: Option<u64>| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(PREFER, HeaderValue::from_static(line));
            }
            assert_eq!(preferred(&headers), expected.map(Duration::from_secs), "{lines:?}");
        };
        check(&[], None);
        check(&["wait=10"], Some(10));
        check(&["wait=0"], Some(0));
        check(&["respond-async, Wait = 10"], Some(10));
        check(&["respond-async", "wait=\"7\"; x=y"], Some(7));
        check(&["wait=1, wait=2"], Some(1));
        check(&["wait", "wait=", "wait=-1", "wait=soon", "await=3"], None);
        check(&["wait=99999999999999999999"], None);
        check(&["wait=4294967295"], Some(4_294_967_295));
    }

    #[test]
    fn who_cannot_wait_is_told_when_to_come_again() {
        let place = |seconds_left| Place {
            agent: domain::AgentName::new("odin").unwrap(),
            place: 2,
            stage: "Loading Odin".to_owned(),
            seconds_left,
        };
        let problem = still_waiting(&place(Some(37.2)));
        assert_eq!(problem.retry_after, Some(38));
        assert!(
            problem.message.contains("Odin is not ready yet: Loading Odin, place 2 in its queue, about 38 s")
        );
        for (left, again) in
            [(None, 5), (Some(0.0), 1), (Some(-3.0), 5), (Some(f64::NAN), 5), (Some(f64::INFINITY), 5)]
        {
            assert_eq!(still_waiting(&place(left)).retry_after, Some(again), "{left:?}");
        }
    }
}
