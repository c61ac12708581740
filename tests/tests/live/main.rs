//! What operators change while everything runs: who dials whom, agents, and roles; and what load balancers are told.

mod peers;

mod readiness;

mod roles;
