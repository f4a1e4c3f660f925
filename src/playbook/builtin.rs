//! The playbooks that come with bleen, inside the binary.

/// File name and text of every shipped playbook, sorted by name.
pub const SHIPPED: &[(&str, &str)] = &[
    ("full.yaml", include_str!("../../playbooks/full.yaml")),
    (
        "mariadb-upgrade.yaml",
        include_str!("../../playbooks/mariadb-upgrade.yaml"),
    ),
    ("minimal.yaml", include_str!("../../playbooks/minimal.yaml")),
    (
        "mysql-5.6-by-file.yaml",
        include_str!("../../playbooks/mysql-5.6-by-file.yaml"),
    ),
];
