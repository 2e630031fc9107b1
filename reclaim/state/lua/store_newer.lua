-- Stores an entry in a hash that remembers the ID of the entry it holds: an older entry does not overwrite a newer one.
-- IDs are compared as numbers of any length. Errors are returned as they are: their codes are needed.
--
-- KEYS[1]  the hash                  as HASH_KEY makes it of the entry: tweet:<id>
--
-- ARGV[1]  the field that holds the entry's ID
-- ARGV[2]  the entry's ID
-- ARGV[3]  for how many seconds the hash is kept; 0: for ever
-- ARGV[4]… the entry's names and values in turn
--
-- Returns 1 if it was stored; else the ID that the hash holds, which is greater.

local function parts(id) if id then return id:match('^(%d+)-(%d+)$') end end
local version = redis.pcall('HGET', KEYS[1], ARGV[1])
if type(version) == 'table' and version.err then return version end
local held_ms, held_seq = parts(version)
if held_ms then
  local ms, seq = parts(ARGV[2])
  if held_ms == ms then held_ms, ms = held_seq, seq end
  if #held_ms > #ms or (#held_ms == #ms and held_ms > ms) then return version end
end
for first = 4, #ARGV, 2000 do
  local stored = redis.pcall('HSET', KEYS[1], unpack(ARGV, first, math.min(first + 1999, #ARGV)))
  if type(stored) == 'table' then return stored end
end
local stored = redis.pcall('HSET', KEYS[1], ARGV[1], ARGV[2])
if type(stored) == 'table' then return stored end
if ARGV[3] ~= '0' then
  local expires = redis.pcall('EXPIRE', KEYS[1], ARGV[3])
  if type(expires) == 'table' then return expires end
end
return 1
