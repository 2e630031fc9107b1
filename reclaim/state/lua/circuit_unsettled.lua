-- Counts a run that tried entries and settled none. The second one in a row with the same class of error opens the
-- circuit, unless a run of another shard has settled anything since the first one began. Sent again for the same run, it
-- counts and tells the same.
--
-- The hash holds: `unsettled_error`, the class; `unsettled_runs`, how many runs in a row; `unsettled_run`, the ID of the
-- last of them; `unsettled_since_ms`, when that one began by its own clock; `unsettled_before_ms`, when the one before it
-- began. What settles an entry removes all of them.
--
-- With shards `unsettled_before_ms` is when the first run of the row began: what it has charged may be in work again, by a
-- run beside this one, which alone can refund it then. `unsettled_first` is that run's shard and `unsettled_first_ms` when
-- it was counted, by its own clock: only what it had charged until then is for others to refund, as the later runs of the
-- row refund their own. `unsettled_from_ms` is when the last of them began by the server's clock, and `settled_ms` when a
-- shard settled anything; see circuit_settled.lua.
--
-- KEYS[1]  the circuit               {<stream>}:reclaim:<group>:circuit
--
-- ARGV[1]  the call's ID
-- ARGV[2]  the run's ID
-- ARGV[3]  when the run began, Unix ms by its own clock
-- ARGV[4]  the class of error
-- ARGV[5]  how many entries failed
-- ARGV[6]  the cool-down, ms; 0: only a person closes the circuit
-- ARGV[7]  which run it is, in words
-- ARGV[8]  the reason to give
-- ARGV[9]  the run's shard, by its number; empty: the target has none
-- ARGV[10] how long ago the run began, ms
-- ARGV[11] now by the run's own clock, Unix ms
--
-- Returns {'opened', 'is_open' or 'is_closed', facts, when the run before began by its own clock or -1 if this is the
-- first in a row}.
-- facts: change, since_ms, by, who, reason, until_ms and failures, as the hash holds them; see circuit_prelude.lua.
-- Where the circuit is in a newer format: an error.

if foreign then return foreign end
local was = redis.call('HMGET', KEYS[1], 'unsettled_run', 'unsettled_error', 'unsettled_runs', 'unsettled_since_ms',
  'unsettled_from_ms', 'settled_ms', 'unsettled_before_ms')
local function is_settled_since()
  local from_ms, settled_ms = tonumber(was[5]), tonumber(was[6])
  return from_ms and settled_ms and from_ms <= settled_ms and settled_ms <= now + 1000 -- else the clock has gone back
end
if was[1] ~= ARGV[2] then
  local again = was[2] == ARGV[4] and not is_settled_since()
  local before_ms = again and was[4] or -1
  if again and ARGV[9] ~= '' and (tonumber(was[7]) or -1) >= 0 then before_ms = was[7] end
  redis.call('HSET', KEYS[1], 'unsettled_run', ARGV[2], 'unsettled_error', ARGV[4],
    'unsettled_runs', again and was[3] + 1 or 1, 'unsettled_since_ms', ARGV[3], 'unsettled_before_ms', before_ms)
  if ARGV[9] ~= '' then
    redis.call('HSET', KEYS[1], 'unsettled_from_ms', now - tonumber(ARGV[10]))
    if not again then redis.call('HSET', KEYS[1], 'unsettled_first', ARGV[9], 'unsettled_first_ms', ARGV[11]) end
  end
end
local before_ms = tonumber(redis.call('HGET', KEYS[1], 'unsettled_before_ms'))
if state ~= 'closed' then
  return {redis.call('HGET', KEYS[1], 'change') == ARGV[1] and 'opened' or 'is_open', facts(), before_ms}
end
if before_ms < 0 then return {'is_closed', facts(), -1} end
open(ARGV[1], ARGV[7], ARGV[8], ARGV[5], tonumber(ARGV[6]), ARGV[9])
return {'opened', facts(), before_ms}
