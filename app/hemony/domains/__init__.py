"""What differs between images and recordings; everything else about a training is the same for both."""

from hemony.config import AudioDataConfig, DataConfig
from hemony.datasets.collection import Collection, check_unreadable, skipped
from hemony.domains.base import Domain


def of(config: DataConfig) -> Domain:
    """The domain of a data set's config."""
    if isinstance(config, AudioDataConfig):
        from hemony.domains.sounds import Sounds

        return Sounds()
    from hemony.domains.images import Images

    return Images()


def find(config: DataConfig) -> Collection:
    """The collection that a config names. Raises InputError where too few of its files can be read."""
    collection = of(config).collection(config)
    total = len(collection) + len(collection.unreadable)
    check_unreadable(collection.unreadable, total, collection.root, config.max_unreadable_share)
    collection.notes += skipped(collection.unreadable, total)
    return collection
