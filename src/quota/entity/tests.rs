use super::*;

const KIND: QuotaKind = QuotaKind::ProducerByteRate;

fn entity(user: Option<Option<&str>>, client_id: Option<Option<&str>>) -> QuotaEntity {
    let pair = |kind: &str, name: Option<&str>| (kind.to_owned(), name.map(str::to_owned));
    let pairs = user.map(|name| pair("user", name));
    let pairs = pairs.into_iter().chain(client_id.map(|name| pair("client-id", name)));
    QuotaEntity::of_pairs(&pairs.collect::<Vec<_>>()).unwrap()
}

/// Kafka's order of precedence, the strongest first, each with a limit of its own.
fn levels() -> Vec<QuotaEntity> {
    vec![
        entity(Some(Some("ann")), Some(Some("app"))),
        entity(Some(Some("ann")), Some(None)),
        entity(Some(Some("ann")), None),
        entity(Some(None), Some(Some("app"))),
        entity(Some(None), Some(None)),
        entity(Some(None), None),
        entity(None, Some(Some("app"))),
        entity(None, Some(None)),
    ]
}

#[test]
fn the_closest_quota_counts_and_the_next_one_once_it_is_gone() {
    let mut quotas = ClientQuotas::default();
    for (limit, level) in (1..).zip(levels()) {
        quotas.set(&level, KIND, Some(QuotaValue::new(KIND, f64::from(limit)).unwrap()));
    }
    for (limit, level) in (1..).zip(levels()) {
        let (value, _) = quotas.of_client(KIND, "ann", "app").unwrap();
        assert_eq!(value.value(), f64::from(limit), "{level:?}");
        quotas.set(&level, KIND, None);
    }
    assert_eq!(quotas.of_client(KIND, "ann", "app"), None);
    assert!(quotas.is_empty());
}

#[test]
fn clients_share_what_their_quota_does_not_tell_apart() {
    let scope = |level: QuotaEntity, user: &str, client_id: &str| {
        let mut quotas = ClientQuotas::default();
        quotas.set(&level, KIND, Some(QuotaValue::new(KIND, 1.0).unwrap()));
        quotas.of_client(KIND, user, client_id).map(|(_, scope)| scope)
    };
    let of_user = || entity(Some(Some("ann")), None);
    assert_eq!(scope(of_user(), "ann", "one"), scope(of_user(), "ann", "two"));
    let of_pair = || entity(Some(Some("ann")), Some(None));
    assert_ne!(scope(of_pair(), "ann", "one"), scope(of_pair(), "ann", "two"));
    let of_client_id = || entity(None, Some(Some("app")));
    assert_eq!(scope(of_client_id(), "ann", "app"), scope(of_client_id(), "bob", "app"));
    let of_every_user = || entity(Some(None), None);
    assert_ne!(scope(of_every_user(), "ann", "app"), scope(of_every_user(), "bob", "app"));
    assert_eq!(scope(of_user(), "bob", "one"), None);
}

#[test]
fn a_quota_of_one_kind_says_nothing_about_others() {
    let mut quotas = ClientQuotas::default();
    let strong = entity(Some(Some("ann")), None);
    let weak = entity(None, Some(None));
    quotas.set(&strong, QuotaKind::ConsumerByteRate, Some(QuotaValue(5.0)));
    quotas.set(&weak, KIND, Some(QuotaValue(7.0)));
    assert_eq!(quotas.of_client(KIND, "ann", "app").map(|(value, _)| value), Some(QuotaValue(7.0)));
}

#[test]
fn entities_that_make_no_sense_are_refused() {
    let pairs = |pairs: &[(&str, Option<&str>)]| {
        let pairs: Vec<_> =
            pairs.iter().map(|(kind, name)| ((*kind).to_owned(), name.map(str::to_owned))).collect();
        QuotaEntity::of_pairs(&pairs).map_err(|error| error.code)
    };
    for bad in [
        &[][..],
        &[("ip", Some("127.0.0.1"))],
        &[("group", Some("g"))],
        &[("user", Some("a")), ("user", Some("b"))],
        &[("user", Some(""))],
    ] {
        assert_eq!(pairs(bad), Err(ErrorCode::InvalidRequest), "{bad:?}");
    }
    let both = entity(Some(None), Some(Some("app")));
    assert_eq!(QuotaEntity::of_pairs(&both.pairs()), Ok(both));
}

#[test]
fn limits_are_positive_and_byte_rates_are_whole() {
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1.5] {
        assert!(QuotaValue::new(QuotaKind::ProducerByteRate, bad).is_err(), "{bad}");
    }
    assert!(QuotaValue::new(QuotaKind::RequestPercentage, 1.5).is_ok());
    for kind in QuotaKind::ALL {
        assert_eq!(QuotaKind::of_key(kind.key()), Some(kind));
    }
}

#[test]
fn filters_are_exact_default_any_and_strict() {
    let mut quotas = ClientQuotas::default();
    for level in levels() {
        quotas.set(&level, KIND, Some(QuotaValue(1.0)));
    }
    let found = |components: &[(&str, ComponentMatch)], strict: bool| {
        let components = components
            .iter()
            .map(|(kind, matching)| Component { kind: (*kind).to_owned(), matching: matching.clone() });
        let filter = Filter::new(components.collect(), strict).unwrap();
        quotas.describe(&filter).map(|(entity, _)| entity.clone()).collect::<Vec<_>>()
    };
    let is = |name: &str| ComponentMatch::Is(EntityName::Named(name.to_owned()));
    let default = || ComponentMatch::Is(EntityName::Default);
    assert_eq!(found(&[], false).len(), 8);
    assert_eq!(found(&[], true).len(), 0);
    assert_eq!(found(&[("user", is("ann"))], false).len(), 3);
    assert_eq!(found(&[("user", is("ann"))], true), [entity(Some(Some("ann")), None)]);
    assert_eq!(found(&[("user", ComponentMatch::Any)], false).len(), 6);
    assert_eq!(found(&[("user", default()), ("client-id", is("app"))], true).len(), 1);
    assert_eq!(found(&[("client-id", ComponentMatch::Any)], true).len(), 2);
    assert_eq!(found(&[("user", is("bob"))], false), []);
}

#[test]
fn filters_that_make_no_sense_are_refused() {
    let any = |kind: &str| Component { kind: kind.to_owned(), matching: ComponentMatch::Any };
    let code = |components: Vec<Component>| Filter::new(components, false).unwrap_err().code;
    assert_eq!(code(vec![any("user"), any("user")]), ErrorCode::InvalidRequest);
    assert_eq!(code(vec![any("ip")]), ErrorCode::UnsupportedVersion);
}
