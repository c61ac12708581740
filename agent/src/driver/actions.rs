//! What the link's state machine has the driver do.

use std::collections::BTreeMap;

use shared::clock::Timestamp;
use shared::id::Origin;
use shared::link::{Action, BatchBytes, Hello, Input, Now, PullRefusal};
use slog::{debug, error, o, warn};

use super::{Driver, Ending};
use crate::hub::LinkEvent;
use crate::session::{BatchSlice, Event};

impl Driver {
    pub(super) fn act(&mut self, message: Option<&BatchSlice>, now: Now) {
        while let Some(action) = self.link.poll_action() {
            self.on_action(action, message, now);
        }
    }

    fn on_action(&mut self, action: Action, message: Option<&BatchSlice>, now: Now) {
        match action {
            Action::Apply { serial, header, bytes } => {
                let bytes = match (bytes, message) {
                    (BatchBytes::Assembled(bytes), _) => BatchSlice::from(bytes),
                    (BatchBytes::InMessage(range), Some(message)) => message.slice(range),
                    (BatchBytes::InMessage(_), None) => unreachable!("only a message brings a batch"),
                };
                self.record.count_in(bytes.len());
                self.apply.apply(header.origin, serial, bytes);
            }
            Action::Decompress { codec, length, bytes } => {
                let message = message.expect("only a message brings another");
                self.on_compressed(codec, &message[bytes], length, now);
            }
            Action::PassedOver(batch_bytes) => self.record.count_in(batch_bytes),
            Action::Greeted(hello) => self.on_greeted(hello),
            Action::Follow(list) if list.is_empty() => {
                self.follow.close();
                self.link.handle(Input::Following, now);
            }
            Action::Follow(list) => self.follow.follow(&list),
            Action::Heard(holding) => self.tell(LinkEvent::Heard(holding)),
            Action::Announced(announcement) => self.tell(LinkEvent::Announced(announcement)),
            // It does not wait for the hub: the link would read no batches meanwhile.
            Action::Published(publication) => {
                self.session.pass_on(Event::Link(self.id, LinkEvent::Published(publication)));
            }
            Action::PeerListens(member, begins) => self.tell(LinkEvent::PeerListens(member, begins)),
            Action::PeerSubscribed(origin, after) => self.tell(LinkEvent::PeerSubscribed(origin, after)),
            Action::PeerUnsubscribed(origin) => self.tell(LinkEvent::PeerUnsubscribed(origin)),
            Action::Drained(origin) => {
                self.progress.hurry();
                self.progress.post(&self.link, &self.apply, now.mono(), |event| {
                    self.outlet.push(Event::Link(self.id, event));
                });
                self.tell(LinkEvent::Drained(origin));
            }
            Action::Refused(origin, refusal) => self.on_refused(origin, refusal),
            Action::Asked(question) => self.talk.on_asked(&question),
            Action::Answered(answer) => self.talk.on_answered(answer),
            Action::PeerTruncated(starts) => self.on_peer_truncated(&starts),
            Action::ClockWarning(reading) => {
                warn!(self.logger, "wall clocks are apart, put the wrong one right (NTP): later writes may lose to \
                    earlier ones, and the link is refused when they drift further";
                    "ours ms" => reading.ours.0, "theirs ms" => reading.theirs.0, "apart ms" => reading.distance_ms());
            }
            Action::Measured(round_trip_us, reading) => {
                self.record.on_measured(round_trip_us, reading.offset_ms());
                self.tell(LinkEvent::RoundTrip(round_trip_us / 1_000));
            }
            Action::Late(late_ms) => self.tell(LinkEvent::Late(late_ms)),
            Action::Close { goodbye, by_peer } => {
                self.end(Ending::Goodbye { goodbye, by_peer });
            }
        }
    }

    fn on_greeted(&mut self, hello: Box<Hello>) {
        let Some(handle) = self.handle.take() else { return };
        self.logger = self.logger.new(o!("peer" => hello.member.name.clone()));
        debug!(self.logger, "peer says hello"; "node id" => %hello.member.node_id, "frontier" => %hello.frontier);
        let (dialled, is_related) = (self.start.dialled.is_some(), self.link.is_related());
        self.outlet.push(Event::Greeted { link: self.id, handle, hello, dialled, is_related });
    }

    fn on_refused(&mut self, origin: Origin, refusal: PullRefusal) {
        let origin_text = origin.to_string();
        match &refusal {
            PullRefusal::Gap => {
                warn!(self.logger, "a batch began beyond what is held, pulling again from there"; "origin" => origin_text);
            }
            PullRefusal::Suspended => {
                error!(self.logger, "a change lies too far in the future: its origin is suspended and tried again every \
                    few seconds; put its author's clock right, then run tandem-agent reissue there"; "origin" => origin_text);
            }
            PullRefusal::Closed => {
                warn!(self.logger, "an origin was evicted from the group, and is not taken from a peer that has not heard of \
                    it; trying again every few seconds"; "origin" => origin_text);
            }
            PullRefusal::Unheard => {
                debug!(self.logger, "an origin is not taken from a peer before its announcements are"; "origin" => origin_text);
            }
            PullRefusal::Truncated(start) => {
                warn!(self.logger, "this node has fallen behind what the peer's log keeps: it takes over a peer's state \
                    instead, unless another peer has the changes; a larger --log-memory or --log-retention spares that";
                    "origin" => origin_text, "log starts at" => %start);
            }
        }
        self.tell(LinkEvent::Refused(origin, refusal));
    }

    fn on_peer_truncated(&self, starts: &BTreeMap<Origin, Timestamp>) {
        for (origin, start) in starts {
            warn!(self.logger, "the peer has fallen behind what this node's log keeps: it takes over a peer's state \
                instead, unless another has the changes; a larger --log-memory or --log-retention here spares that";
                "origin" => %origin, "log starts at" => %start);
        }
    }

    pub(super) fn tell(&mut self, event: LinkEvent) {
        self.outlet.push(Event::Link(self.id, event));
    }
}
