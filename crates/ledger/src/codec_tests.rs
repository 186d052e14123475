use proptest::prelude::*;

use super::*;
use crate::proto::Trx;
use crate::test_support::check_codec;

#[test]
fn scalars_survive() {
    check_codec(&BlockId(u64::MAX));
    check_codec(&GroupId::from_random([3; 16]));
    check_codec(&Digest([5; 32]));
    check_codec(&ViewPublicKey([5; 32]));
    check_codec(&ViewSignature([6; 64]));
    check_codec(&crate::test_support::member(4).public());
    check_codec::<Arc<[u8]>>(&Arc::from(&b"value"[..]));
}

#[test]
fn limits_are_named() {
    let mut writer = Writer::new();
    writer.bytes(&[0; 10]);
    let bytes = writer.finish();
    let error = CodecError::TooLong { what: "name", length: 10, limit: 9 };
    assert_eq!(Reader::new(&bytes).bytes("name", 9), Err(error));
    assert_eq!(Reader::new(&bytes[..8]).bytes("name", 10), Err(CodecError::Truncated));
    assert_eq!(Reader::new(&bytes).text("name", 10).as_deref(), Ok("\0\0\0\0\0\0\0\0\0\0"));
    assert_eq!(Reader::new(&[0, 0, 0, 1, 0xff]).text("n", 9), Err(CodecError::Invalid("n")));
    // A claimed count costs nothing: the items must be there.
    let claim = [0x00, 0xff, 0xff, 0xff];
    let read = Reader::new(&claim).list("items", usize::MAX, Reader::u64);
    assert_eq!(read, Err(CodecError::Truncated));
}

#[test]
fn messages_have_one_spelling() {
    let trx = Trx { trx_id: "a".to_owned(), nonce: 1, ..Trx::default() };
    let bytes = prost::Message::encode_to_vec(&trx);
    assert_eq!(decode_message::<Trx>("trx", &bytes, 100), Ok(trx));
    let unknown = [bytes.as_slice(), &[0x78, 1]].concat();
    let default_written = [bytes.as_slice(), &[0x60, 0]].concat();
    let out_of_order = [&bytes[3..], &bytes[..3]].concat();
    let long_number = [&bytes[..4], &[0x81, 0x00]].concat();
    for other in [unknown, default_written, out_of_order, long_number] {
        assert_eq!(decode_message::<Trx>("trx", &other, 100), Err(CodecError::Invalid("trx")));
    }
    let error = CodecError::TooLong { what: "trx", length: bytes.len(), limit: 3 };
    assert_eq!(decode_message::<Trx>("trx", &bytes, 3), Err(error));
}

proptest! {
    #[test]
    fn fields_survive(
        numbers in any::<(u8, u16, u32, u64, i64)>(),
        bytes in any::<Vec<u8>>(),
        texts in proptest::collection::vec(any::<String>(), 0..5),
    ) {
        let mut writer = Writer::new();
        writer.u8(numbers.0);
        writer.u16(numbers.1);
        writer.u32(numbers.2);
        writer.u64(numbers.3);
        writer.i64(numbers.4);
        writer.bytes(&bytes);
        writer.list(&texts, |writer, text| writer.bytes(text.as_bytes()));
        let written = writer.finish();
        let mut reader = Reader::new(&written);
        prop_assert_eq!(reader.u8(), Ok(numbers.0));
        prop_assert_eq!(reader.u16(), Ok(numbers.1));
        prop_assert_eq!(reader.u32(), Ok(numbers.2));
        prop_assert_eq!(reader.u64(), Ok(numbers.3));
        prop_assert_eq!(reader.i64(), Ok(numbers.4));
        prop_assert_eq!(reader.bytes("bytes", 1000), Ok(bytes.as_slice()));
        prop_assert_eq!(reader.list("texts", 5, |reader| reader.text("text", 1000)), Ok(texts));
        prop_assert_eq!(reader.finish(), Ok(()));
    }
}
