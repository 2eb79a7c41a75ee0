"""Drain (He et al. 2017) with a search whose cost does not grow with what it has learned."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from operator import ne
from typing import Any, Final

from drain3.drain import Drain, LogCluster

VARIED: Final = "\x1a"
"""The word of a cluster or a message that stands for any; no text holds it, so that `<*>` is a word."""

# The masks have found what varies; Drain only joins messages of twenty and more words that differ in one.
# Lower values join states ("VM Started", "VM Paused").
_SIMILARITY: Final = 0.95
_MOST_VARIED: Final = 1 / 3  # of a message's words; else it is like everything
_MOST_CANDIDATES: Final = 64  # compared with a message; those that came first
_MOST_INDEXED: Final = 4_096  # clusters of one length; those after are found by equal words alone


class FlatDrain(Drain):  # type: ignore[misc]
    """Drain that compares a message only with those clusters of its length that can be similar enough.

    Instead of a tree of first words it knows, for each word and position, which clusters have it there (a
    bit each); and for long messages, cut into so many parts that similar ones share one, who has the part.
    A word that varies, in the message or the cluster, is like any other word.

    >>> drain = FlatDrain()
    >>> [drain.code_of(text.split()) for text in ("the first of all", "the last of all", "the first of all")]
    [1, 2, 1]
    >>> drain.alike(["the", VARIED, "of", "all"])
    [1, 2]
    """

    def __init__(self) -> None:
        super().__init__(sim_th=_SIMILARITY, param_str=VARIED, parametrize_numeric_tokens=False)
        self._lengths: dict[int, _Length] = {}
        self._asked: Sequence[str] | None = None  # what was asked for last, while nothing was learned since
        self._alike: list[int] = []
        self._parts: defaultdict[tuple[int, int, tuple[str, ...]], dict[int, None]] = defaultdict(dict)

    def code_of(self, tokens: list[str]) -> int:
        """The number of the cluster these words now belong to."""
        cluster, change = self.add_log_message(" ".join(tokens))
        if change == "cluster_template_changed":
            self.add_seq_to_prefix_tree(self.root_node, cluster)
        return int(cluster.cluster_id)

    def found(self, tokens: list[str]) -> int | None:
        """The number of the cluster these words would belong to, if they need no new one."""
        cluster = self.tree_search(self.root_node, tokens, self.sim_th, include_params=False)
        return None if cluster is None else int(cluster.cluster_id)

    def alike(self, tokens: Sequence[str]) -> list[int]:
        """The clusters that differ from these words only where one of the two varies, oldest first."""
        if self._asked != tokens:
            length = self._lengths.get(len(tokens))
            self._alike = [] if length is None else length.alike(tokens)
            self._asked = tokens
        return self._alike

    def forget(self, identity: int) -> None:
        """Let no message belong to a cluster any more."""
        self._asked = None
        self._lengths[len(self.id_to_cluster[identity].log_template_tokens)].forget(identity)

    def become(self, identity: int, tokens: list[str]) -> None:
        """Give a cluster other words, of which more vary."""
        self.forget(identity)
        cluster = self.id_to_cluster[identity]
        was, cluster.log_template_tokens = cluster.log_template_tokens, tuple(tokens)
        self._learn(cluster, was)

    def tree_search(
        self,
        root_node: Any,  # noqa: ANN401, ARG002  (Drain's tree, which is not used)
        tokens: list[str],
        sim_th: float,
        include_params: bool,  # noqa: FBT001  (Drain's own signature)
    ) -> LogCluster | None:
        """The most similar cluster, if any is similar enough."""
        alike = self.alike(tokens)
        if alike:
            return self.id_to_cluster[alike[0]]
        candidates = dict.fromkeys(each for key in _parts(tokens) for each in self._parts.get(key, ()))
        return self.fast_match(candidates, tokens, sim_th, include_params)

    def add_seq_to_prefix_tree(self, root_node: Any, cluster: LogCluster) -> None:  # noqa: ANN401, ARG002
        """Let the cluster be found by its words and parts."""
        self._learn(cluster, ())

    def _learn(self, cluster: LogCluster, was: Sequence[str]) -> None:
        """Let the cluster be found by its words and parts, of which it had some before."""
        self._asked = None
        tokens = cluster.log_template_tokens
        self._lengths.setdefault(len(tokens), _Length()).learn(cluster.cluster_id, tokens, was)
        for key in _parts(tokens):
            if len(self._parts[key]) < _MOST_CANDIDATES:
                self._parts[key][cluster.cluster_id] = None

    def create_template(self, seq1: Any, seq2: Any) -> list[str]:  # noqa: ANN401
        """What two similar messages share."""
        return [one if one == other else VARIED for one, other in zip(seq1, seq2, strict=True)]

    def get_seq_distance(
        self,
        seq1: Any,  # noqa: ANN401
        seq2: Any,  # noqa: ANN401
        include_params: Any,  # noqa: ANN401, ARG002
    ) -> tuple[float, int]:
        """The share of words that agree, and how many vary."""
        if not seq1:
            return 1.0, 0
        size = len(seq1)
        if sum(map(ne, seq1, seq2)) > size * (_MOST_VARIED + 1 - _SIMILARITY):
            return 0.0, 0
        pairs = list(zip(seq1, seq2, strict=True))
        varied = sum(VARIED in pair for pair in pairs)
        if varied > _MOST_VARIED * size:
            return 0.0, 0
        return sum(one == other or VARIED in (one, other) for one, other in pairs) / size, varied


class _Length:
    """The clusters of one length: for each word at a position a number whose bits are those that have it."""

    def __init__(self) -> None:
        self._bits: dict[int, int] = {}  # cluster -> its bit
        self._clusters: list[int] = []  # by bit
        self._varied: list[int] = []  # by bit: the positions that vary, a bit each
        self._having: dict[tuple[int, str], int] = {}
        self._standing = 0

    def learn(self, identity: int, tokens: Sequence[str], was: Sequence[str]) -> None:
        bit = self._bits.get(identity)
        if bit is None:
            if len(self._clusters) >= _MOST_INDEXED:
                return
            bit = self._bits[identity] = 1 << len(self._clusters)
            self._clusters.append(identity)
            self._varied.append(0)
        self._varied[bit.bit_length() - 1] = _varied_positions(tokens)
        self._standing |= bit
        for key in enumerate(tokens):
            if len(was) == len(tokens) and was[key[0]] == key[1]:
                continue
            self._having[key] = self._having.get(key, 0) | bit

    def forget(self, identity: int) -> None:
        self._standing &= ~self._bits.get(identity, 0)

    def alike(self, tokens: Sequence[str]) -> list[int]:
        """Those that have each word, or one that varies, where these words are, if few vary."""
        found = self._standing
        having = self._having
        for at, token in enumerate(tokens):
            if token != VARIED:
                found &= having.get((at, token), 0) | having.get((at, VARIED), 0)
                if not found:
                    return []
        varied = _varied_positions(tokens)
        most = _MOST_VARIED * len(tokens)
        alike = []
        for _ in range(_MOST_CANDIDATES):
            if not found:
                break
            lowest = found & -found
            number = lowest.bit_length() - 1
            if (varied | self._varied[number]).bit_count() <= most:
                alike.append(self._clusters[number])
            found ^= lowest
        return alike


def _varied_positions(tokens: Sequence[str]) -> int:
    return sum(1 << at for at, token in enumerate(tokens) if token == VARIED) if VARIED in tokens else 0


def _parts(tokens: Any) -> Iterator[tuple[int, int, tuple[str, ...]]]:  # noqa: ANN401
    """The parts of a long message that hold no word that varies; one more than may differ."""
    size = len(tokens)
    parts = int(size * (1 - _SIMILARITY) + 1e-9) + 1
    if parts == 1:
        return
    for part in range(parts):
        words = tuple(tokens[size * part // parts : size * (part + 1) // parts])
        if VARIED not in words:
            yield size, part, words
