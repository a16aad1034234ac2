//! A minion's disk: what is written lies in a cache until it is synced; power fails in the middle, room runs out.

use crate::dice::Dice;
use minion::journal::{JournalError, Medium};
use std::{
    cell::{RefCell, RefMut},
    io::{self, Read},
    path::PathBuf,
    rc::Rc,
};

/// Room that is set aside.
const BALLAST: usize = 20_000;

/// What spins.
#[derive(Debug, Default)]
pub(crate) struct Platter {
    bytes: Vec<u8>,
    /// So many of them outlive a loss of power.
    safe: usize,
    /// Bytes that still go in; none is as many as one likes.
    pub(crate) room: Option<usize>,
    ballast: bool,
    /// Operations until the process dies in the middle of one.
    pub(crate) fuse: Option<u32>,
}

/// A disk that outlives the processes that use it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Rc<RefCell<Platter>>);

impl Disk {
    pub(crate) fn platter(&self) -> RefMut<'_, Platter> {
        self.0.borrow_mut()
    }
}

impl Platter {
    fn spark(&mut self) -> io::Result<()> {
        match &mut self.fuse {
            Some(0) => Err(io::Error::other("the process died")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// What was not synced is gone, or half there, or zeros.
    pub(crate) fn lose_power(&mut self, dice: &mut Dice) {
        let tail = self.bytes.len() - self.safe;
        let kept = dice.index(tail + 1);
        self.bytes.truncate(self.safe + kept);
        if kept > 0 && dice.one_in(3) {
            let zeros = dice.index(kept + 1);
            self.bytes[self.safe + kept - zeros..].fill(0);
        }
        self.safe = self.bytes.len();
    }

    /// There is room again.
    pub(crate) fn free(&mut self) {
        self.room = None;
    }

    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        let fits = self.room.map_or(bytes.len(), |room| room.min(bytes.len()));
        self.bytes.extend_from_slice(&bytes[..fits]);
        if let Some(room) = &mut self.room {
            *room -= fits;
        }
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

fn refused(action: &'static str, source: io::Error) -> JournalError {
    JournalError::Io { action, path: PathBuf::from("journal"), source }
}

impl Medium for Disk {
    fn path(&self) -> PathBuf {
        PathBuf::from("journal")
    }

    fn read(&mut self) -> io::Result<Box<dyn Read + '_>> {
        let bytes = self.0.borrow().bytes.clone();
        Ok(Box::new(io::Cursor::new(bytes)))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut platter = self.platter();
        if let Err(death) = platter.spark() {
            platter.add(&bytes[..bytes.len() / 2])?;
            return Err(death);
        }
        platter.add(bytes)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let mut platter = self.platter();
        platter.spark()?;
        let length = usize::try_from(length).expect("it is in memory");
        let gone = platter.bytes.len() - length;
        platter.bytes.truncate(length);
        platter.safe = platter.safe.min(length);
        if let Some(room) = &mut platter.room {
            *room += gone;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut platter = self.platter();
        platter.spark()?;
        platter.safe = platter.bytes.len();
        Ok(())
    }

    fn replace(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        let mut platter = self.platter();
        platter.spark().map_err(|it| refused("write", it))?;
        if platter.room.is_some_and(|room| room < bytes.len()) {
            return Err(refused("store", io::ErrorKind::StorageFull.into()));
        }
        platter.bytes = bytes.to_vec();
        platter.safe = bytes.len();
        platter.spark().map_err(|it| refused("replace", it))
    }

    fn keep_damaged(&mut self) -> io::Result<PathBuf> {
        Ok(PathBuf::from("journal.damaged"))
    }

    fn keep_ballast(&mut self, _bytes: u64) {
        let mut platter = self.platter();
        if platter.ballast {
            return;
        }
        match &mut platter.room {
            None => platter.ballast = true,
            Some(room) if *room >= BALLAST => {
                *room -= BALLAST;
                platter.ballast = true;
            }
            Some(_) => {}
        }
    }

    fn give_up_ballast(&mut self) -> bool {
        let mut platter = self.platter();
        let had = std::mem::take(&mut platter.ballast);
        if let Some(room) = platter.room.as_mut().filter(|_| had) {
            *room += BALLAST;
        }
        had
    }
}
