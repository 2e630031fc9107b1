-- Where move.lua and move_wide.lua take entries from: the dead letters. Whether one is still there is known when it is
-- removed, so that no body has to be read. The functions are those of move_pending_prelude.lua.
--
-- KEYS[1]  the dead letters          {<stream>}:reclaim:<group>:dead

local function look_at() end
local function refused() end
local function leave(id) return redis.pcall('XDEL', KEYS[1], id) end
local function end_moves() end
