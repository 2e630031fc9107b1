-- Counts failures, each as a member of the window, and opens the circuit when they are too many. It adds no more members
-- than it takes to open, and none while the circuit is open. Sent again with the same ID, it counts and tells the same.
--
-- KEYS[1]  the circuit               {<stream>}:reclaim:<group>:circuit
-- KEYS[2]  the failures, a window    {<stream>}:reclaim:<group>:failures
--
-- ARGV[1]  the call's ID
-- ARGV[2]  how many failures there were
-- ARGV[3]  how many of them open the circuit
-- ARGV[4]  within how many ms
-- ARGV[5]  the cool-down, ms; 0: only a person closes the circuit
-- ARGV[6]  which run it is
-- ARGV[7]  the reason to give
-- ARGV[8]  the share that failures must have of all entries in the window; 0: their number alone decides
-- ARGV[9]  how many entries were settled beside them
-- ARGV[10] the run's shard, by its number; empty: the target has none
--
-- With a share, entries are counted in the circuit's hash too: `failed:<n>` and `settled:<n>`, n being one of 30 equal
-- parts of the window. `counted` has the IDs of the last calls, since several shards may call.
--
-- Returns {'opened', 'is_open' or 'is_closed', facts}.
-- facts: change, since_ms, by, who, reason, until_ms and failures, as the hash holds them; see circuit_prelude.lua.
-- Where the circuit is in a newer format: an error.

local COUNTED_BYTES = 2000

if foreign then return foreign end
if state ~= 'closed' then
  return {redis.call('HGET', KEYS[1], 'change') == ARGV[1] and 'opened' or 'is_open', facts()}
end
local limit, window_ms, cooldown_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. now - window_ms)
redis.call('ZREMRANGEBYSCORE', KEYS[2], now + 1000, '+inf') -- the server's clock has gone back since
local before = redis.call('ZCARD', KEYS[2])
local new = math.min(tonumber(ARGV[2]), limit - before)
for first = 1, new, 500 do
  local call = {'ZADD', KEYS[2]}
  for at = first, math.min(first + 499, new) do
    call[#call + 1] = now
    call[#call + 1] = ARGV[1] .. ':' .. at
  end
  redis.call(unpack(call))
end
redis.call('PEXPIRE', KEYS[2], window_ms + 1)
local failed = before + tonumber(ARGV[2])
local too_many = redis.call('ZCARD', KEYS[2]) >= limit
local share, parts = tonumber(ARGV[8]), {}
if share > 0 then
  local width_ms = math.max(math.floor(window_ms / 30), 1)
  local part = math.floor(now / width_ms)
  local counted = redis.call('HGET', KEYS[1], 'counted') or ''
  if not string.find(counted, ARGV[1], 1, true) then
    redis.call('HSET', KEYS[1], 'counted', ARGV[1] .. ' ' .. string.sub(counted, 1, COUNTED_BYTES))
    redis.call('HINCRBY', KEYS[1], 'failed:' .. part, ARGV[2])
    redis.call('HINCRBY', KEYS[1], 'settled:' .. part, ARGV[9])
  end
  local sums = {failed = 0, settled = 0}
  local all = redis.call('HGETALL', KEYS[1])
  for at = 1, #all, 2 do
    local what, n = string.match(all[at], '^(%l+):(%d+)$')
    if n then
      parts[#parts + 1] = all[at]
      if tonumber(n) <= part - 31 or tonumber(n) > part + math.ceil(1000 / width_ms) then
        redis.call('HDEL', KEYS[1], all[at])
      else
        sums[what] = sums[what] + tonumber(all[at + 1])
      end
    end
  end
  failed = sums.failed
  too_many = failed >= limit and failed >= share * (failed + sums.settled)
end
if not too_many then return {'is_closed', facts()} end
if #parts > 0 then redis.call('HDEL', KEYS[1], 'counted', unpack(parts)) end
open(ARGV[1], ARGV[6], ARGV[7], failed, cooldown_ms, ARGV[10])
return {'opened', facts()}
