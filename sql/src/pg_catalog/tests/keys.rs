//! The columns that are said to tell rows apart do.

use super::{rows, session};
use crate::pg_catalog::{keys, shape};

#[tokio::test]
async fn keys_are_unique() {
    let context = session();
    let mut count = 0;
    for shape in shape::all() {
        for key in keys::of(shape) {
            let (name, columns) = (shape.name, key.join(", "));
            assert!(key.iter().all(|column| shape.index_of(column).is_some()), "{name}: {columns}");
            let twice = format!("select {columns} from {name} group by {columns} having count(*) > 1");
            assert!(rows(&context, &twice).await.is_empty(), "{name}: {columns}");
            count += 1;
        }
    }
    assert!(count > 20);
}
