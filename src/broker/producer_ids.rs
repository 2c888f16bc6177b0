//! Producer ids in blocks: taken from the metadata a thousand at a time, given out one by one.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::broker::{Broker, BrokerError};
use crate::ids::ProducerId;
use crate::metadata::decide::{PRODUCER_ID_BLOCK, allocate_producer_ids};

/// An id in hand that may turn out not to be needed; then the next one to ask gets it.
pub(super) struct SpareProducerId {
    id: ProducerId,
    pool: Arc<Mutex<Vec<ProducerId>>>,
    taken: bool,
}

impl SpareProducerId {
    /// Takes it for good.
    pub(super) fn take(&mut self) -> ProducerId {
        self.taken = true;
        self.id
    }
}

impl Drop for SpareProducerId {
    fn drop(&mut self) {
        if !self.taken {
            self.pool.lock().push(self.id);
        }
    }
}

/// The block that is being given out. Ids of a block that a crash cuts short are never given.
#[derive(Default)]
pub struct ProducerIds {
    block: tokio::sync::Mutex<Option<Block>>,
    unused: Arc<Mutex<Vec<ProducerId>>>,
}

struct Block {
    next: ProducerId,
    left: i64,
}

impl Broker {
    /// A producer id for a call that rarely needs one.
    pub(super) async fn spare_producer_id(&self) -> Result<SpareProducerId, BrokerError> {
        let pool = Arc::clone(&self.producer_ids.unused);
        let unused = pool.lock().pop();
        let id = match unused {
            Some(id) => id,
            None => self.fresh_producer_id().await?,
        };
        Ok(SpareProducerId { id, pool, taken: false })
    }

    /// A producer id that nobody has had before.
    pub async fn fresh_producer_id(&self) -> Result<ProducerId, BrokerError> {
        let mut block = self.producer_ids.block.lock().await;
        if block.as_ref().is_none_or(|block| block.left == 0) {
            let mut first = None;
            self.change_metadata(|image| {
                let (id, record) = allocate_producer_ids(image);
                first = Some(id);
                Ok(vec![record])
            })
            .await?;
            *block = first.map(|next| Block { next, left: PRODUCER_ID_BLOCK });
        }
        let Some(block) = block.as_mut() else { return Err(BrokerError::CoordinatorUnavailable) };
        let id = block.next;
        block.next = id.next();
        block.left -= 1;
        Ok(id)
    }
}
