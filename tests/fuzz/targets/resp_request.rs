//! Clients' requests: whatever arrives, in whatever pieces, the decoder makes the same of it.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use shared::resp::{RequestDecoder, RequestError, RequestLimits, encode_request};

#[derive(Arbitrary, Debug)]
struct Case<'a> {
    /// Limits that short inputs can reach.
    limits: [u8; 4],
    /// The lengths of the pieces, again and again.
    pieces: [u8; 4],
    /// Arguments of a request that stands before the input.
    before: Vec<&'a [u8]>,
    input: &'a [u8],
}

fuzz_target!(|case: Case<'_>| {
    let mut input = Vec::new();
    if !case.before.is_empty() {
        encode_request(&case.before, &mut input);
    }
    input.extend_from_slice(case.input);
    for limits in [RequestLimits::default(), small(case.limits)] {
        let whole = decode(limits, &input, &[usize::MAX]);
        let pieces = case.pieces.map(|length| usize::from(length) + 1);
        assert_eq!(decode(limits, &input, &pieces), whole, "pieces matter");
        assert_eq!(decode(limits, &input, &[1]), whole, "single bytes matter");
    }
    if !case.before.is_empty() {
        let (requests, _) = decode(RequestLimits::default(), &input, &[usize::MAX]);
        assert_eq!(requests[0], case.before, "a request that was encoded is not what was decoded");
    }
});

fn small([bulk, arguments, inline, request]: [u8; 4]) -> RequestLimits {
    RequestLimits {
        bulk_bytes_max: bulk.into(),
        arguments_max: arguments.into(),
        // Lines of lengths of few digits take a short way, where the limit of longer ones does not matter.
        inline_bytes_max: 16 + usize::from(inline),
        request_bytes_max: usize::from(request) * 4,
    }
}

/// The requests, and the error or the number of bytes left at the end.
type Outcome = (Vec<Vec<Vec<u8>>>, Result<usize, RequestError>);

fn decode(limits: RequestLimits, input: &[u8], pieces: &[usize]) -> Outcome {
    let mut decoder = RequestDecoder::new(limits);
    let (mut requests, mut start, mut end) = (Vec::new(), 0, 0);
    let mut pieces = pieces.iter().cycle();
    while end < input.len() {
        end = pieces.next().map_or(input.len(), |length| end.saturating_add(*length)).min(input.len());
        while start < end {
            let arrived = &input[start..end];
            match decoder.decode(arrived) {
                Ok(None) => break,
                Ok(Some(consumed)) => {
                    assert!((1..=arrived.len()).contains(&consumed));
                    assert_eq!(decoder.argument_count(), decoder.arguments(arrived).len());
                    requests.push(decoder.arguments(arrived).map(<[u8]>::to_vec).collect());
                    start += consumed;
                }
                Err(error) => return (requests, Err(error)),
            }
        }
    }
    (requests, Ok(input.len() - start))
}
