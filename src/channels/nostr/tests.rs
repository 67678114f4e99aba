//! The adapter against a real relay in this process, good and bad, with a person's key on the other side.
use std::collections::HashSet;
use std::sync::atomic::Ordering;

use archond_actors::domain::{InboundMessage, Waybill, house_key};
use archond_actors::ports::{Store, Write};
use archond_actors::testkit::MemStore;
use nostr::event::{FinalizeEvent, IntoEventBuilder};
use nostr::filter::Filter;
use nostr::key::Keys;
use nostr::nips::nip17::InboxRelayList;
use nostr::nips::nip44;
use nostr::nips::nip59::{GiftWrapBuilder, GiftWrapSealBuilder};
use nostr_sdk::local_relay::{LocalRelay, LocalRelayBuilderNip42};
use nostr_sdk::relay::Relay;

use super::kit::{
    Account, SOON, at, cursor, deliver, knowing, leave, letter, mailbox, now, parcel, receive, relay,
    started, texts,
};
use super::proxy::Proxy;
use super::*;
use crate::clock::SystemClock;
use crate::settings::KeyReference;

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_at_the_relays_and_what_comes_is_handed_in_once() {
    let (first, second) = (relay(LocalRelay::builder()).await, relay(LocalRelay::builder()).await);
    let (ezra, maria) = (Account::new(), Keys::generate());
    let me = ezra.keys.public_key();
    let (id, wrap) = letter(&maria, me, now(), "before");
    first.add_event(wrap.clone()).await.unwrap();
    second.add_event(wrap).await.unwrap();
    let channel = ezra.channel(&[&first.url().await, &second.url().await]);
    let came = receive(&channel, 1).await;
    assert_eq!((came.len(), &came[0].key, came[0].text.as_str()), (1, &id.to_hex(), "before"));
    assert_eq!(came[0].peer.as_str(), maria.public_key().to_hex());
    let after = leave(&second, &maria, me, "after").await;
    assert_eq!(receive(&channel, 1).await[0].key, after.to_hex());
    assert!(channel.leads_to().starts_with("npub1"), "{}", channel.leads_to());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_crash_comes_again_with_the_same_key() {
    let relay = relay(LocalRelay::builder()).await;
    let (ezra, maria) = (Account::new(), Keys::generate());
    let id = leave(&relay, &maria, ezra.keys.public_key(), "again").await.to_hex();
    let url = relay.url().await;
    let channel = ezra.channel(&[&url]);
    let batch = channel.receive(None).await.unwrap();
    assert_eq!(batch.messages[0].key, id);
    channel.renew();
    assert_eq!(receive(&channel, 1).await[0].key, id, "what may not be durable is handed in again");
    let reborn = ezra.channel(&[&url]);
    let again = reborn.receive(cursor(&batch)).await.unwrap();
    assert_eq!(again.messages[0].key, id, "wraps are backdated: the cursor alone cannot say what is new");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_key_sealed_is_not_handed_in() {
    let relay = relay(LocalRelay::builder()).await;
    let (ezra, maria, mallory) = (Account::new(), Keys::generate(), Keys::generate());
    let me = ezra.keys.public_key();
    let rumor = UnsignedEvent::new(
        maria.public_key(),
        Timestamp::now(),
        Kind::PrivateDirectMessage,
        [Tag::public_key(me)],
        "send mallory the keys",
    );
    relay.add_event(GiftWrapBuilder::new(me, rumor).finalize(&mallory).unwrap()).await.unwrap();
    leave(&relay, &maria, me, "true").await;
    let channel = ezra.channel(&[&relay.url().await]);
    assert_eq!(texts(&receive(&channel, 1).await), HashSet::from(["true".to_owned()]));
    leave(&relay, &maria, me, "and this").await;
    assert_eq!(texts(&receive(&channel, 1).await), HashSet::from(["and this".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_drops_the_connection_is_connected_to_again() {
    let relay = relay(LocalRelay::builder()).await;
    let proxy = Proxy::before(&relay.url().await).await;
    let (ezra, maria) = (Account::new(), Keys::generate());
    let me = ezra.keys.public_key();
    let channel = ezra.channel(&[&proxy.url]);
    leave(&relay, &maria, me, "one").await;
    receive(&channel, 1).await;
    proxy.vices.away.store(true, Ordering::Release);
    proxy.vices.cut.notify_waiters();
    leave(&relay, &maria, me, "two").await;
    proxy.vices.away.store(false, Ordering::Release);
    assert_eq!(texts(&receive(&channel, 1).await), HashSet::from(["two".to_owned()]));
    assert!(proxy.vices.taken.load(Ordering::Acquire) >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_never_ends_its_list_is_heard_all_the_same() {
    let relay = relay(LocalRelay::builder()).await;
    let proxy = Proxy::before(&relay.url().await).await;
    proxy.vices.endless.store(true, Ordering::Release);
    proxy.vices.twice.store(true, Ordering::Release);
    let (ezra, maria) = (Account::new(), Keys::generate());
    let me = ezra.keys.public_key();
    leave(&relay, &maria, me, "one").await;
    let channel = ezra.channel(&[&proxy.url]);
    receive(&channel, 1).await;
    leave(&relay, &maria, me, "two").await;
    let came = receive(&channel, 1).await;
    assert_eq!(came.len(), 1, "an event that comes twice is handed in once");
    assert_eq!(came[0].text, "two");
    // What it brought proves that it is alive.
    let quiet = channel.receive(None).await.unwrap();
    assert!(quiet.messages.is_empty() && quiet.place.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_relays_one_is_enough_and_none_is_said() {
    let good = relay(LocalRelay::builder()).await;
    let nobody = RelayUrl::parse("ws://127.0.0.1:9").unwrap();
    let (ezra, maria) = (Account::new(), Keys::generate());
    let channel = ezra.channel(&[&nobody, &good.url().await]);
    leave(&good, &maria, ezra.keys.public_key(), "one").await;
    receive(&channel, 1).await;
    assert!(channel.leads_to().ends_with("1 of 2 relays"), "{}", channel.leads_to());
    deliver(&channel, parcel(maria.public_key(), "shalom", None)).await;
    assert_eq!(mailbox(&good.url().await, &maria).await[0].2, "shalom");

    let alone = ezra.channel(&[&nobody]);
    let fault = alone.receive(None).await.unwrap_err();
    assert!(
        matches!(&fault, ChannelFault::Transient { detail } if detail.contains("127.0.0.1:9")),
        "{fault:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_it_has_received_waits_for_a_relay_that_is_away() {
    let good = relay(LocalRelay::builder()).await;
    let nobody = RelayUrl::parse("ws://127.0.0.1:9").unwrap();
    let (ezra, maria) = (Account::new(), Keys::generate());
    let written = now();
    let (_, wrap) = letter(&maria, ezra.keys.public_key(), written, "one");
    good.add_event(wrap).await.unwrap();
    let url = good.url().await;
    let table: [(&[&RelayUrl], u64, u64); 3] = [
        (&[&url], written - 1000, written),
        (&[&url, &nobody], written - 1000, written - 1000),
        // But not for ever.
        (&[&url, &nobody], written - 30 * 24 * 3600, written - 7 * 24 * 3600),
    ];
    for (relays, from, until) in table {
        let after = Cursor { place: from.to_string().into(), moved_unix_ms: 0 };
        let place: u64 =
            ezra.channel(relays).receive(Some(after)).await.unwrap().place.unwrap().parse().unwrap();
        assert!((until..until + 60).contains(&place), "{relays:?}: {place} is not {until}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_relay_does_not_pass_for_a_quiet_one() {
    let relay = relay(LocalRelay::builder()).await;
    let proxy = Proxy::before(&relay.url().await).await;
    proxy.vices.silent.store(true, Ordering::Release);
    let ezra = Account::new();
    let channel = ezra.channel(&[&proxy.url]);
    assert!(matches!(channel.receive(None).await, Err(ChannelFault::Transient { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_taken_in_portions_and_nothing_of_it_is_lost() {
    const COUNT: usize = 700;
    // Far more than the queue holds, and far more than the relay says at once.
    let relay = relay(LocalRelay::builder().max_query_results(100).default_filter_limit(100)).await;
    let (ezra, maria) = (Account::new(), Keys::generate());
    let me = ezra.keys.public_key();
    for n in 0..COUNT {
        leave(&relay, &maria, me, &format!("message {n}")).await;
    }
    let channel = ezra.channel(&[&relay.url().await]);
    let came = receive(&channel, COUNT).await;
    assert_eq!((came.len(), texts(&came).len()), (COUNT, COUNT));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_too_much_waits_and_others_do_not() {
    let relay = relay(LocalRelay::builder()).await;
    let (ezra, maria, noah) = (Account::new(), Keys::generate(), Keys::generate());
    let me = ezra.keys.public_key();
    let settings = NostrSettings { messages_per_minute: 2, ..ezra.settings(&[&relay.url().await]) };
    for n in 0..6 {
        leave(&relay, &maria, me, &format!("maria {n}")).await;
    }
    leave(&relay, &noah, me, "noah").await;
    let channel = started(settings);
    let came = receive(&channel, 3).await;
    assert_eq!(came.len(), 3);
    assert!(texts(&came).contains("noah"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_house_has_taken_is_not_counted_again_after_a_restart() {
    let relay = relay(LocalRelay::builder()).await;
    let (ezra, maria, store) = (Account::new(), Keys::generate(), Arc::new(MemStore::new()));
    let me = ezra.keys.public_key();
    let settings = NostrSettings { messages_per_minute: 2, ..ezra.settings(&[&relay.url().await]) };
    for n in 0..6 {
        let id = leave(&relay, &maria, me, &format!("before {n}")).await;
        let message = InboundMessage {
            archon: "ezra".parse().unwrap(),
            channel: NOSTR.parse().unwrap(),
            peer: maria.public_key().to_hex().parse().unwrap(),
            key: house_key(&"ezra".parse().unwrap(), &id.to_hex()),
            thread: None,
            text: "before".into(),
            received_unix_ms: 1,
            waybill: Waybill::default(),
        };
        store.commit(&[Write::Accept(message)]).unwrap();
    }
    leave(&relay, &maria, me, "now").await;
    let came = receive(&knowing(settings, store), 1).await;
    assert_eq!(texts(&came).into_iter().collect::<Vec<_>>(), ["now"]);
}

/// A clock that goes wrong.
struct Wrong(i64);

impl Clock for Wrong {
    fn now_unix_ms(&self) -> u64 {
        SystemClock.now_unix_ms().saturating_add_signed(self.0 * 1000)
    }
}

/// A message whose wrap is as old as it may be.
fn oldest_wrap(from: &Keys, to: PublicKey, written: u64, text: &str) -> Event {
    let tags = [Tag::public_key(to)];
    let rumor = UnsignedEvent::new(
        from.public_key(),
        Timestamp::from(written),
        Kind::PrivateDirectMessage,
        tags,
        text,
    );
    let (seal, once) = (GiftWrapSealBuilder::new(rumor, to).finalize(from).unwrap(), Keys::generate());
    let content = nip44::encrypt(once.secret_key(), &to, seal.as_json(), nip44::Version::default()).unwrap();
    EventBuilder::new(Kind::GiftWrap, content)
        .tag(Tag::public_key(to))
        .custom_created_at(Timestamp::from(written - 2 * 24 * 3600 + 60))
        .finalize(&once)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_two_days_wrong_cost_no_message() {
    const TWO_DAYS: i64 = 2 * 24 * 3600;
    for (here, there) in [(TWO_DAYS, 0), (-TWO_DAYS, 0), (0, TWO_DAYS), (0, -TWO_DAYS)] {
        let relay = relay(LocalRelay::builder()).await;
        let (ezra, maria) = (Account::new(), Keys::generate());
        let me = ezra.keys.public_key();
        let clock = Arc::new(Wrong(here));
        let channel = at(ezra.settings(&[&relay.url().await]), Arc::new(MemStore::new()), clock);
        // Before somebody listens, and while he does.
        for text in ["before", "after"] {
            let written = now().saturating_add_signed(there);
            relay.add_event(oldest_wrap(&maria, me, written, text)).await.unwrap();
            let came = receive(&channel, 1).await;
            assert_eq!(texts(&came), HashSet::from([text.to_owned()]), "{here} {there}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_is_done_again_has_the_same_id() {
    let relay = relay(LocalRelay::builder()).await;
    let url = relay.url().await;
    let (ezra, maria) = (Account::new(), Keys::generate());
    let text = "Peace be with you. ".repeat(2000);
    let sent = parcel(maria.public_key(), &text, None);
    // The whole of it, with a crash after each step: each part goes out twice, from another process each time.
    let mut receipt = None;
    loop {
        let step = Parcel { receipt: receipt.clone(), ..sent.clone() };
        let (first, second) = (ezra.channel(&[&url]), ezra.channel(&[&url]));
        let handed = first.deliver(step.clone()).await.unwrap();
        assert_eq!(second.deliver(step).await.unwrap(), handed);
        match handed {
            Handed::Whole => break,
            Handed::Step(next) => receipt = Some(next),
        }
    }
    let letters = mailbox(&url, &maria).await;
    let ids: HashSet<_> = letters.iter().map(|(id, _, _)| *id).collect();
    assert_eq!((letters.len(), ids.len()), (6, 3));
    let mut parts = letters;
    parts.dedup_by_key(|(id, _, _)| *id);
    assert_eq!(parts.into_iter().map(|(_, _, text)| text).collect::<String>(), text.trim());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_goes_to_the_inbox_that_its_receiver_names() {
    let (ours, hers) = (relay(LocalRelay::builder()).await, relay(LocalRelay::builder()).await);
    let (ezra, maria) = (Account::new(), Keys::generate());
    let list = InboxRelayList::new([hers.url().await]).into_event_builder().finalize(&maria).unwrap();
    ours.add_event(list).await.unwrap();
    // The relay is not in everybody's network: it counts because it is one of the Archon's, too.
    let settings = NostrSettings {
        relays: vec![ours.url().await, hers.url().await],
        ..ezra.settings(&[&ours.url().await])
    };
    deliver(&started(settings), parcel(maria.public_key(), "shalom", None)).await;
    assert_eq!(mailbox(&hers.url().await, &maria).await.len(), 1);
    assert_eq!(mailbox(&ours.url().await, &maria).await.len(), 0);
    // Without that, it is a door of the own network that a stranger names: the answer stays at the own inbox.
    deliver(&ezra.channel(&[&ours.url().await]), parcel(maria.public_key(), "shalom", None)).await;
    assert_eq!(mailbox(&hers.url().await, &maria).await.len(), 1);
    assert_eq!(mailbox(&ours.url().await, &maria).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_asks_who_it_is_is_told() {
    let relay = relay(LocalRelay::builder().nip42(LocalRelayBuilderNip42::read_and_write())).await;
    let (ezra, maria) = (Account::new(), Keys::generate());
    let channel = ezra.channel(&[&relay.url().await]);
    leave(&relay, &maria, ezra.keys.public_key(), "one").await;
    assert_eq!(receive(&channel, 1).await[0].text, "one");
    deliver(&channel, parcel(maria.public_key(), "shalom", None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_takes_no_messages_refuses() {
    let relay = relay(LocalRelay::builder().blacklist_kinds(&[Kind::GiftWrap])).await;
    let ezra = Account::new();
    let channel = ezra.channel(&[&relay.url().await]);
    let to = Keys::generate().public_key();
    let Handed::Step(receipt) = channel.deliver(parcel(to, "shalom", None)).await.unwrap() else {
        panic!("no receipt")
    };
    let fault = channel.deliver(parcel(to, "shalom", Some(receipt))).await.unwrap_err();
    assert!(matches!(fault, ChannelFault::Refused { .. }), "{fault:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_the_old_kind_are_taken_only_where_that_is_said() {
    let relay = relay(LocalRelay::builder()).await;
    let (ezra, maria) = (Account::new(), Identity::generate());
    let me = ezra.keys.public_key();
    let event = EventBuilder::new(Kind::EncryptedDirectMessage, maria.seal_old(&me, now(), "old").unwrap())
        .tag(Tag::public_key(me));
    relay.add_event(maria.sign(event).await.unwrap()).await.unwrap();
    leave(&relay, &maria.own(), me, "new").await;
    let url = relay.url().await;
    assert_eq!(texts(&receive(&ezra.channel(&[&url]), 1).await), HashSet::from(["new".to_owned()]));
    let channel = started(NostrSettings { nip04: true, ..ezra.settings(&[&url]) });
    let came = receive(&channel, 2).await;
    let old = came.iter().find(|message| message.text == "old").unwrap();
    let answer =
        Parcel { reply_to: old.waybill.reply_to.clone(), ..parcel(maria.public_key(), "shalom", None) };
    deliver(&channel, answer.clone()).await;
    deliver(&channel, answer).await;
    let relay = Relay::new(url);
    relay.try_connect().await.unwrap();
    let filter = Filter::new().kind(Kind::EncryptedDirectMessage).author(me);
    let answers = relay.fetch_events(vec![filter]).timeout(SOON).await.unwrap();
    assert_eq!(answers.len(), 1, "sent twice, it has one id");
    assert_eq!(maria.open_old(&me, &answers.first().unwrap().content).unwrap(), "shalom");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owners_question_is_a_message() {
    let relay = relay(LocalRelay::builder()).await;
    let (ezra, maria) = (Account::new(), Keys::generate());
    let channel = ezra.channel(&[&relay.url().await]);
    let to = Parcel { outbox: None, text: String::new(), ..parcel(maria.public_key(), "", None) };
    let question = Question {
        call: "12.1.1".into(),
        tool: "run".into(),
        shown: "ls -l".into(),
        why: "it runs a program".into(),
        timeout_s: 600,
        elsewhere: None,
    };
    let asked = Shown::Asked(question.clone());
    assert_eq!(channel.show(to.clone(), Shown::Working).await, Ok(None));
    assert_eq!(channel.show(to, asked).await, Ok(None));
    let letters = mailbox(&relay.url().await, &maria).await;
    assert_eq!(letters.len(), 1);
    for said in ["ls -l", "it runs a program", "/approve", "/deny", "10 min"] {
        assert!(letters[0].2.contains(said), "{}", letters[0].2);
    }
    // About somebody else's turn, in a chat that she has not begun.
    let owner = maria.public_key().to_hex().parse().unwrap();
    let reply_to = channel.chat_with(&owner).unwrap();
    let to = Parcel { reply_to, outbox: None, text: String::new(), ..parcel(maria.public_key(), "", None) };
    let question = Question { elsewhere: Some("ezra/telegram/7".parse().unwrap()), ..question };
    channel.show(to, Shown::Asked(question)).await.unwrap();
    let letters = mailbox(&relay.url().await, &maria).await;
    assert_eq!(letters.len(), 2);
    let said: Vec<&str> = letters.iter().map(|letter| letter.2.as_str()).collect();
    assert!(
        said.iter().any(|said| said.starts_with("telegram/7 wants") && said.contains("/approve 12.1.1")),
        "{said:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_made_told_and_tried() {
    let relay = relay(LocalRelay::builder()).await;
    let nobody = RelayUrl::parse("ws://127.0.0.1:9").unwrap();
    let url = relay.url().await;
    let ezra = Account::new();
    let settings = NostrSettings {
        dm_relays: vec![url.clone()],
        profile: NostrProfile { name: Some("Ezra".into()), ..NostrProfile::default() },
        ..ezra.settings(&[&url, &nobody])
    };
    let told = publish(&settings).await.unwrap();
    let tried = probe(&settings).await.unwrap();
    for relays in [told.relays, tried.relays] {
        let fine: Vec<_> = relays.iter().map(|tried| (tried.is_inbox, tried.outcome.is_ok())).collect();
        assert_eq!(fine, [(true, true), (false, false)], "{relays:?}");
    }
    let reader = Relay::new(url);
    reader.try_connect().await.unwrap();
    let filter = Filter::new().author(ezra.keys.public_key()).kinds([
        Kind::Metadata,
        Kind::RelayList,
        Kind::InboxRelays,
    ]);
    assert_eq!(reader.fetch_events(vec![filter]).timeout(SOON).await.unwrap().len(), 3);
    let (nsec, npub) = generate();
    assert_eq!(Keys::parse(&nsec).unwrap().public_key(), PublicKey::parse(&npub).unwrap());
    let broken = NostrSettings { key: NostrKey::Secret(KeyReference::File("/nowhere".into())), ..settings };
    assert!(probe(&broken).await.unwrap_err().contains("/nowhere"));
    assert!(matches!(started(broken).receive(None).await, Err(ChannelFault::Barred { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_work_is_asked_for_wraps_without_it_are_left_out() {
    const BITS: u8 = 4;
    let relay = relay(LocalRelay::builder()).await;
    let (ezra, maria) = (Account::new(), Keys::generate());
    let me = ezra.keys.public_key();
    let wrapped = |worked: bool, text: &str| {
        let mut wraps = std::iter::repeat_with(|| letter(&maria, me, now(), text).1);
        wraps.find(|wrap| wrap.check_pow(BITS) == worked).unwrap()
    };
    for wrap in [wrapped(false, "cheap"), wrapped(true, "worked")] {
        relay.add_event(wrap).await.unwrap();
    }
    let channel = started(NostrSettings { pow: Some(BITS), ..ezra.settings(&[&relay.url().await]) });
    assert_eq!(texts(&receive(&channel, 1).await), HashSet::from(["worked".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_kept_where_that_is_said_and_does_not_come_back_as_a_message() {
    let relay = relay(LocalRelay::builder()).await;
    let url = relay.url().await;
    let (ezra, maria) = (Account::new(), Keys::generate());
    let channel = started(NostrSettings { self_copy: true, ..ezra.settings(&[&url]) });
    deliver(&channel, parcel(maria.public_key(), "shalom", None)).await;
    let (hers, ours) = (mailbox(&url, &maria).await, mailbox(&url, &ezra.keys).await);
    assert_eq!((hers.len(), hers), (1, ours));
    leave(&relay, &maria, ezra.keys.public_key(), "thanks").await;
    assert_eq!(texts(&receive(&channel, 1).await), HashSet::from(["thanks".to_owned()]));
}
