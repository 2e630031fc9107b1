-- Makes a dead letter of an entry and acknowledges the entry, unless there are enough dead letters: none is ever pushed
-- out. Behind delete_prelude.lua it deletes the entry too, unless another group needs it; behind keep_prelude.lua the
-- entry stays. A MULTI would acknowledge it also where XADD fails when it is its turn (the key holds another type); a
-- script can stop. Errors are returned as they are: their codes are needed.
--
-- KEYS[1]  the stream                <stream>
-- KEYS[2]  the dead letters          {<stream>}:reclaim:<group>:dead
--
-- ARGV[1]  the group
-- ARGV[2]  the entry's ID
-- ARGV[3]  how many dead letters there may be
-- ARGV[4]  our consumer
-- ARGV[5]  the entry's delivery count as we left it
-- ARGV[6]… the dead letter's names and values in turn
--
-- Returns 1 if another group needs the entry, else 0, also where the entry is no longer pending; or the error TAKEN where
-- somebody else has claimed the entry, FULL where there are so many dead letters already.

if redis.replicate_commands then redis.replicate_commands() end
local problem = look_at_groups()
if problem then return problem end
local stays = needed_elsewhere(ARGV[2]) and 1 or 0
local row = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)[1]
if not row then return stays end
if row[2] ~= ARGV[4] or row[4] ~= tonumber(ARGV[5]) then return redis.error_reply('TAKEN by somebody else') end
local there = redis.pcall('XLEN', KEYS[2])
if type(there) == 'table' then return there end
if there >= tonumber(ARGV[3]) then return redis.error_reply('FULL of dead letters') end
local added = redis.pcall('XADD', KEYS[2], '*', unpack(ARGV, 6))
if type(added) == 'table' then return added end
local acknowledged = redis.pcall('XACK', KEYS[1], ARGV[1], ARGV[2])
if type(acknowledged) == 'table' then
  redis.call('XDEL', KEYS[2], added)
  return acknowledged
end
if stays == 0 then delete(ARGV[2]) end
return stays
