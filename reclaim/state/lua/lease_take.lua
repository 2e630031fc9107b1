-- Takes the lease of a target, or of one of its shards, if nobody has it who may not work at the same time.
--
-- Shards of the same number of shards work at the same time. Another number of shards, and a replay, wait until no run is
-- left; a replay keeps new runs away meanwhile, else it might wait for ever. It may be asked again: a run that finds its
-- own token has the lease.
--
-- KEYS[1]  the lease of the whole    {<stream>}:reclaim:<group>:lease (a shard's ends with :<its number>)
-- KEYS[2]  how many shards ran last  {<stream>}:reclaim:<group>:shards (no key: 1)
--
-- ARGV[1]  the run's token
-- ARGV[2]  the TTL, ms
-- ARGV[3]  the shard's number; -1: the whole target
-- ARGV[4]  how many shards there are; 0: a replay, whatever their number
--
-- Returns {the token of who has the lease, ms until it ends}: our own if we have it now.

local count, index = tonumber(ARGV[4]), tonumber(ARGV[3])
local ran = math.min(tonumber(redis.call('GET', KEYS[2]) or 1) or 1, 1000) -- more is not ours, and would take long
local mine = index < 0 and KEYS[1] or KEYS[1] .. ':' .. index
local function held(key)
  local token = redis.call('GET', key)
  return token and token ~= ARGV[1] and {token, redis.call('PTTL', key)} or nil
end
local other = held(mine) or held(KEYS[1])
if other then return other end
if count == 0 then redis.call('SET', mine, ARGV[1], 'PX', ARGV[2]) end
if ran > 1 and count ~= ran then
  for number = 0, ran - 1 do
    other = held(KEYS[1] .. ':' .. number)
    if other then return other end
  end
end
if count > 0 and count ~= ran then
  if count == 1 then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], count) end
end
redis.call('SET', mine, ARGV[1], 'PX', ARGV[2])
return {ARGV[1], tonumber(ARGV[2])}
