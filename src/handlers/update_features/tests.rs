use super::*;

const TRANSACTIONS: &str = "transaction.version";

#[test]
fn the_level_at_work_is_confirmed_in_any_direction() {
    for upgrade_type in [UpgradeType::Upgrade, UpgradeType::Downgrade] {
        assert_eq!(check(TRANSACTIONS, 2, upgrade_type), Ok(()));
    }
}

#[test]
fn any_other_level_and_an_unknown_feature_are_invalid_updates() {
    let refused = [
        (TRANSACTIONS, 1, UpgradeType::Upgrade, "asks for a safe or unsafe downgrade"),
        (TRANSACTIONS, 1, UpgradeType::Downgrade, "always works at level 2"),
        (TRANSACTIONS, 0, UpgradeType::Downgrade, "always works at level 2"),
        (TRANSACTIONS, 3, UpgradeType::Upgrade, "always works at level 2"),
        (TRANSACTIONS, 3, UpgradeType::Downgrade, "is no downgrade"),
        ("metadata.version", 1, UpgradeType::Upgrade, "does not know feature metadata.version"),
    ];
    for (name, level, upgrade_type, words) in refused {
        let (code, why) = check(name, level, upgrade_type).unwrap_err();
        assert_eq!(code, ErrorCode::InvalidUpdateVersion);
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn version_0_says_with_a_flag_what_later_ones_say_with_a_type() {
    let update = |kind: i8, allow: bool| {
        FeatureUpdateKey::default().with_upgrade_type(kind).with_allow_downgrade(allow)
    };
    assert_eq!(upgrade_type(0, &update(1, false)), Ok(UpgradeType::Upgrade));
    assert_eq!(upgrade_type(0, &update(1, true)), Ok(UpgradeType::Downgrade));
    assert_eq!(upgrade_type(1, &update(1, false)), Ok(UpgradeType::Upgrade));
    assert_eq!(upgrade_type(1, &update(2, false)), Ok(UpgradeType::Downgrade));
    assert_eq!(upgrade_type(2, &update(3, false)), Ok(UpgradeType::Downgrade));
    assert_eq!(upgrade_type(1, &update(0, false)).unwrap_err().0, ErrorCode::InvalidRequest);
}
