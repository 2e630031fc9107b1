-- Ends what XADD began before it in the same MULTI, for a dead letter with more fields than a script can pass on to
-- XADD: acknowledges the entry, or takes the dead letter back where it should not have been made. Behind
-- delete_prelude.lua it deletes the entry too, unless another group needs it; behind keep_prelude.lua the entry stays.
--
-- KEYS[1]  the stream                <stream>
-- KEYS[2]  the dead letters          {<stream>}:reclaim:<group>:dead
--
-- ARGV[1]  the group
-- ARGV[2]  the entry's ID
-- ARGV[3]  how many dead letters there may be
-- ARGV[4]  our consumer
-- ARGV[5]  the entry's delivery count as we left it
--
-- Returns as park.lua does.

if redis.replicate_commands then redis.replicate_commands() end
local greatest = '18446744073709551615-18446744073709551615'
if #redis.call('XRANGE', KEYS[2], greatest, greatest) > 0 then -- XADD has added nothing
  return redis.error_reply('ERR the stream has come to its last ID')
end
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
redis.call('XDEL', KEYS[2], redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1][1])
if problem then return problem end
if not row then return stays end
return redis.error_reply(is_ours and 'FULL of dead letters' or 'TAKEN by somebody else')
