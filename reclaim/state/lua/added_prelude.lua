-- What a script begins with that ends what XADD began before it in the same MULTI. It is run if XADD has failed, too.
--
-- XADD fails where the stream has come to the greatest ID, also if the entry with that ID is deleted. Nothing but XINFO
-- STREAM would tell, for which a user needs another permission. So what was added is known by its looks: it is the newest
-- entry, is a moment old, and has as many words.
--
-- `added(key, words)` returns the ID of what was added, or nil and an error. `words` is how many names and values XADD
-- was given.

local AGE_MS = 10000 -- between XADD and the script nothing else happens
local function added(key, words)
  local newest = redis.pcall('XREVRANGE', key, '+', '-', 'COUNT', 1)
  if newest.err then return nil, newest end
  local id, body = unpack(newest[1] or {})
  local time = redis.call('TIME')
  local is_new = id and tonumber(id:match('^%d+')) >= time[1] * 1000 - AGE_MS
  if not is_new or #body ~= tonumber(words) or id == '18446744073709551615-18446744073709551615' then
    return nil, redis.error_reply('ERR the stream has come to its last ID')
  end
  return id
end
