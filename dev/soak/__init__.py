"""A soak: random worlds of producers, consumers, faults and people, and at the end of each an account of every entry.

`python -m dev.soak --minutes 30 --seed 7` builds one world after another. A world lives for a few seconds. It has a
server, one to three targets with settings of their own, and things happen in it at random moments. Then everything is
healed, and the judge looks for each entry that was ever added. On a violation the program prints the seed, the world
and its history, and exits 1.

The seed gives the world, the entries and the steps. It does not give the moments at which steps meet runs, so a world
that is built again lives a similar life, not the same one.
"""
