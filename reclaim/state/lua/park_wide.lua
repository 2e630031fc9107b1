-- Ends what XADD began before it in the same MULTI, for a dead letter with more fields than a script can pass on to
-- XADD: acknowledges the entry, or takes the dead letter back where it should not have been made. The preludes are
-- added_prelude.lua and delete_prelude.lua, behind which it deletes the entry too, unless another group needs it, or
-- keep_prelude.lua, behind which the entry stays.
--
-- KEYS[1]  the stream                <stream>
-- KEYS[2]  the dead letters          {<stream>}:reclaim:<group>:dead
--
-- ARGV[1]  the group
-- ARGV[2]  the entry's ID
-- ARGV[3]  how many dead letters there may be
-- ARGV[4]  our consumer
-- ARGV[5]  the entry's delivery count as we left it
-- ARGV[6]  how many names and values XADD was given
--
-- Returns as park.lua does.

if redis.replicate_commands then redis.replicate_commands() end
local letter, failure = added(KEYS[2], ARGV[6])
if not letter then return failure end
local problem = look_at_groups()
local stays = not problem and needed_elsewhere(ARGV[2]) and 1 or 0
local row = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)[1]
local is_ours = row and row[2] == ARGV[4] and row[4] == tonumber(ARGV[5])
local is_full = redis.call('XLEN', KEYS[2]) > tonumber(ARGV[3])
if is_ours and not is_full and not problem then
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
  if stays == 0 then delete(ARGV[2]) end
  return stays
end
redis.call('XDEL', KEYS[2], letter)
if problem then return problem end
if not row then return stays end
return redis.error_reply(is_ours and 'FULL of dead letters' or 'TAKEN by somebody else')
