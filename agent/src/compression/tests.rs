use proptest::prelude::*;

use super::*;

/// A message as batches of one write are: most of it as in those before it.
fn message(number: u64) -> Vec<u8> {
    format!(
        "[{number:016x}] key:{:012} {{\"name\":\"user-{number}\",\"active\":true,\"visits\":{}}}",
        number * 7_919 % 1_000_000,
        number % 10
    )
    .into_bytes()
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..length).map(|_| random.u8(..)).collect()
}

/// What a message of the link carries: the codec's bytes, and the length that it says.
fn unpack(carrier: &[u8]) -> (Codec, Vec<u8>, usize) {
    match Message::decode(carrier).unwrap() {
        Message::Compressed(Compressed { codec, length, bytes }) => (codec, bytes.to_vec(), length),
        message => panic!("it is compressed: {message:?}"),
    }
}

struct Pair(Compressor, Decompressor);

impl Pair {
    fn new(codec: Codec) -> Self {
        Self(Compressor::new(codec).unwrap(), Decompressor::default())
    }

    /// Sends a message, and says how many bytes that took.
    #[track_caller]
    fn check(&mut self, message: &[u8]) -> usize {
        let carrier = self.0.compress(message).unwrap();
        let (codec, bytes, length) = unpack(&carrier);
        assert_eq!(self.1.decompress(codec, &bytes, length).unwrap(), message);
        carrier.len()
    }
}

#[test]
fn messages_of_every_length_come_out_as_they_went_in() {
    for codec in Codec::ALL {
        let mut pair = Pair::new(codec);
        for length in
            [1, 2, 63, 64, 1_000, 65_535, 65_536, 65_537, 200_000, 1 << 20, *COMPRESSED_LENGTHS.end()]
        {
            pair.check(&vec![7; length]);
            pair.check(&noise(length, length as u64));
            pair.check(&message(length as u64));
        }
    }
}

#[test]
fn messages_that_look_alike_become_small_one_by_one() {
    for (codec, bytes_max) in [(Codec::Lz4, 55), (Codec::Zstd, 55)] {
        let mut pair = Pair::new(codec);
        let lengths: Vec<_> = (0..2_000).map(|number| pair.check(&message(number))).collect();
        let mean = lengths.iter().sum::<usize>() / lengths.len();
        assert!(mean <= bytes_max, "{} bytes by {}, {} without", mean, codec.name(), message(9).len());
    }
}

#[test]
fn what_cannot_be_compressed_hardly_grows() {
    for codec in Codec::ALL {
        let mut pair = Pair::new(codec);
        for length in [64, 1_000, 100_000, 1 << 20] {
            let grown = pair.check(&noise(length, length as u64)) - length;
            assert!(grown <= 40 + length / 1_000, "{} by {grown} of {length}", codec.name());
        }
    }
}

/// Memory must not grow with what a peer says, but with what may be true.
#[test]
fn a_message_that_is_longer_than_it_says_is_refused() {
    for codec in Codec::ALL {
        for (length, said) in [(1 << 20, 1_000), (100_000, 99_999), (2, 1)] {
            let mut pair = Pair::new(codec);
            let (_, bytes, _) = unpack(&pair.0.compress(&vec![7; length]).unwrap());
            let error = pair.1.decompress(codec, &bytes, said).unwrap_err().to_string();
            assert!(error.contains("longer than") || error.contains("damaged"), "{error}");
        }
        let mut pair = Pair::new(codec);
        let (_, bytes, length) = unpack(&pair.0.compress(&message(1)).unwrap());
        let error = pair.1.decompress(codec, &bytes, length + 1).unwrap_err();
        assert!(matches!(error, DecompressError::TooShort(..)), "{error}");
    }
}

/// A frame may ask for a window of gigabytes.
#[test]
fn a_zstd_stream_with_a_giant_window_is_refused() {
    use ::zstd::stream::raw::{CParameter, Encoder, Operation, OutBuffer};
    let mut encoder = Encoder::new(1).unwrap();
    encoder.set_parameter(CParameter::WindowLog(27)).unwrap();
    let mut frame = Vec::with_capacity(1 << 10);
    let mut output = OutBuffer::around(&mut frame);
    encoder.run(&mut ::zstd::stream::raw::InBuffer::around(&[7; 100]), &mut output).unwrap();
    encoder.flush(&mut output).unwrap();
    let error = Decompressor::default().decompress(Codec::Zstd, &frame, 100).unwrap_err();
    assert!(matches!(error, DecompressError::Damaged(..)), "{error}");
}

#[test]
fn a_stream_keeps_its_codec() {
    let mut pair = Pair::new(Codec::Zstd);
    pair.check(&message(1));
    let (_, bytes, length) = unpack(&Compressor::new(Codec::Lz4).unwrap().compress(&message(2)).unwrap());
    let error = pair.1.decompress(Codec::Lz4, &bytes, length).unwrap_err();
    assert!(matches!(error, DecompressError::Mixed("lz4")), "{error}");
}

#[test]
fn a_message_that_is_missing_or_cut_is_noticed() {
    for codec in Codec::ALL {
        let mut pair = Pair::new(codec);
        pair.check(&message(1));
        let (_, bytes, length) = unpack(&pair.0.compress(&noise(5_000, 2)).unwrap());
        for cut in [0, 1, 4, bytes.len() / 2, bytes.len() - 1] {
            let mut reader = Decompressor::default();
            let (_, first, first_length) =
                unpack(&Compressor::new(codec).unwrap().compress(&message(1)).unwrap());
            reader.decompress(codec, &first, first_length).unwrap();
            assert!(
                reader.decompress(codec, &bytes[..cut], length).is_err(),
                "{} cut to {cut}",
                codec.name()
            );
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_read(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        length in 1..5_000usize,
        is_zstd in any::<bool>(),
    ) {
        let codec = if is_zstd { Codec::Zstd } else { Codec::Lz4 };
        let mut reader = Decompressor::default();
        for _ in 0..3 {
            if let Ok(out) = reader.decompress(codec, &bytes, length) {
                prop_assert_eq!(out.len(), length);
            }
        }
    }

    #[test]
    fn damaged_streams_are_refused_or_read(
        at in any::<usize>(),
        byte in any::<u8>(),
        is_zstd in any::<bool>(),
        length in 1..3_000usize,
    ) {
        let codec = if is_zstd { Codec::Zstd } else { Codec::Lz4 };
        let (mut writer, mut reader) = (Compressor::new(codec).unwrap(), Decompressor::default());
        for number in 0..20 {
            let (_, mut bytes, said) = unpack(&writer.compress(&message(number)).unwrap());
            let at = at % (bytes.len() * 20);
            if let Some(damaged) = bytes.get_mut(at) {
                *damaged = byte;
            }
            let said = if at % 3 == 0 { length } else { said };
            match reader.decompress(codec, &bytes, said) {
                Ok(out) => prop_assert_eq!(out.len(), said),
                Err(_) => break,
            }
        }
    }
}
